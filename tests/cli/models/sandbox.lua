local file = io.open("/etc/passwd")
return { name = "sandbox", doc = file:read(), params = {}, inputs = {}, build = function() end }
