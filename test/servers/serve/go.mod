module github.com/lockstep-dev/lockstep/test/servers/serve

go 1.26.0
