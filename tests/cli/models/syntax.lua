return {
  name = "syntax",
  build = function(g) g:output( end,
}
