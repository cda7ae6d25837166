module github.com/lockstep-dev/lockstep/test/servers/aws

go 1.26.0

require (
	github.com/aws/aws-sdk-go-v2 v1.47.7
	github.com/golang-jwt/jwt/v5 v5.3.1
	github.com/lockstep-dev/lockstep/test/servers/serve v0.0.0
)

require github.com/aws/smithy-go v1.28.8 // indirect

replace github.com/lockstep-dev/lockstep/test/servers/serve => ../serve
