return require "lib.loop"
