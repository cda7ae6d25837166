module github.com/lockstep-dev/lockstep/test/servers/gcp

go 1.26.0

require (
	cloud.google.com/go/secretmanager v1.24.0
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/lockstep-dev/lockstep/test/servers/serve v0.0.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	cloud.google.com/go/iam v1.14.0 // indirect
	golang.org/x/net v0.61.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/text v0.43.0 // indirect
	google.golang.org/genproto v0.0.0-20261012220534-4341edf3f941 // indirect
	google.golang.org/genproto/googleapis/api v0.0.0-20261012220534-4341edf3f941 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261012220534-4341edf3f941 // indirect
)

replace github.com/lockstep-dev/lockstep/test/servers/serve => ../serve
