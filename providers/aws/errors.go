package aws

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/lockstep-dev/lockstep/providers"
	"github.com/lockstep-dev/lockstep/providers/egress"
)

// badCredentials are the codes that say that it is not a right that is
// missing: AWS does not know the key, or no longer.
// Source: https://docs.aws.amazon.com/secretsmanager/latest/APIReference/CommonErrors.html
var badCredentials = map[string]bool{
	"UnrecognizedClientException": true, "InvalidClientTokenId": true, "InvalidSignatureException": true, "SignatureDoesNotMatch": true,
	"IncompleteSignature": true, "IncompleteSignatureException": true, "ExpiredToken": true, "ExpiredTokenException": true,
	"MissingAuthenticationToken": true, "MissingAuthenticationTokenException": true, "RequestExpired": true,
	"InvalidIdentityToken": true, "IDPRejectedClaim": true,
}

// apiError is an error that AWS gave about one of several secrets.
type apiError struct{ code, message string }

func (e apiError) Error() string                 { return e.code }
func (e apiError) ErrorCode() string             { return e.code }
func (e apiError) ErrorMessage() string          { return e.message }
func (e apiError) ErrorFault() smithy.ErrorFault { return smithy.FaultUnknown }

// classes maps the codes of Secrets Manager, Parameter Store and STS. What is not in it, nor
// above, is taken to pass.
var classes = map[string]error{
	"ResourceNotFoundException": providers.ErrNotFound, "ParameterNotFound": providers.ErrNotFound,
	"ParameterVersionNotFound": providers.ErrNotFound, "ParameterVersionLabelNotFound": providers.ErrNotFound,

	"AccessDenied": providers.ErrDenied, "AccessDeniedException": providers.ErrDenied, "NotAuthorized": providers.ErrDenied,
	"OptInRequired": providers.ErrDenied, "RegionDisabledException": providers.ErrDenied, "DecryptionFailure": providers.ErrDenied,
	"EncryptionFailure": providers.ErrDenied, "PublicPolicyException": providers.ErrDenied,

	"Throttling": providers.ErrThrottled, "ThrottlingException": providers.ErrThrottled, "ThrottledException": providers.ErrThrottled,
	"RequestThrottled": providers.ErrThrottled, "RequestThrottledException": providers.ErrThrottled, "TooManyRequestsException": providers.ErrThrottled,
	"RequestLimitExceeded": providers.ErrThrottled, "LimitExceededException": providers.ErrThrottled, "SlowDown": providers.ErrThrottled,
	"TooManyUpdates": providers.ErrThrottled,

	"InvalidParameterException": providers.ErrInvalid, "InvalidParameterValue": providers.ErrInvalid, "InvalidRequestException": providers.ErrInvalid,
	"ValidationException": providers.ErrInvalid, "ValidationError": providers.ErrInvalid, "SerializationException": providers.ErrInvalid,
	"InvalidKeyId": providers.ErrInvalid, "InvalidFilterKey": providers.ErrInvalid, "InvalidFilterValue": providers.ErrInvalid,
	"InvalidFilterOption": providers.ErrInvalid, "InvalidResourceId": providers.ErrNotFound, "UnsupportedParameterType": providers.ErrInvalid,
	"MalformedPolicyDocumentException": providers.ErrInvalid, "ParameterLimitExceeded": providers.ErrInvalid, "PoliciesLimitExceededException": providers.ErrInvalid,
	"InvalidPolicyTypeException": providers.ErrInvalid, "InvalidPolicyAttributeException": providers.ErrInvalid, "IncompatiblePolicyException": providers.ErrInvalid,
	"ParameterPatternMismatchException": providers.ErrInvalid, "HierarchyTypeMismatch": providers.ErrInvalid, "HierarchyLevelLimitExceededException": providers.ErrInvalid,
	"MalformedPolicyDocument": providers.ErrInvalid, "PackedPolicyTooLarge": providers.ErrInvalid,
}

// code returns the code of an error that AWS gave, or an empty one.
func code(err error) string {
	var e smithy.APIError
	if !errors.As(err, &e) {
		return ""
	}
	return e.ErrorCode()
}

// classify says in our words what went wrong with a request to service. What
// the SDK says may repeat the request, and holds an id that changes each time.
func classify(ctx context.Context, err error, service string) error {
	if ours, ok := errors.AsType[ownError](err); ok {
		return ours.err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("request to %s: %w", service, ctx.Err())
	}
	var e smithy.APIError
	if !errors.As(err, &e) {
		return fmt.Errorf("%w: %s: %s", providers.ErrUnavailable, service, unreached(err))
	}
	name := e.ErrorCode()
	class := classes[name]
	switch {
	case badCredentials[name]:
		return fmt.Errorf("%w: %s does not accept the credentials (%s): they are wrong, or no longer valid", providers.ErrDenied, service, name)
	case class == nil:
		return fmt.Errorf("%w: %s answers with an error (%s)", providers.ErrUnavailable, service, printable(name))
	case name == "InvalidRequestException" && strings.Contains(e.ErrorMessage(), "deletion"):
		return fmt.Errorf("%w: it is marked for deletion in %s", providers.ErrNotFound, service)
	case errors.Is(class, providers.ErrThrottled):
		return fmt.Errorf("request to %s: %w", service, providers.Throttled{After: retryAfter(err)})
	case errors.Is(class, providers.ErrNotFound):
		return fmt.Errorf("%w: not in %s", class, service)
	case name == "DecryptionFailure":
		return fmt.Errorf("%w: %s cannot decrypt it: allow kms:Decrypt with its KMS key", class, service)
	case errors.Is(class, providers.ErrDenied):
		return fmt.Errorf("%w: %s (%s): check the policies of the user or role, and whom the role trusts", class, service, name)
	}
	return fmt.Errorf("%w: %s refuses the request (%s)", class, service, name)
}

// codes are what the names of errors look like. Anything else was not made by
// AWS, and is not repeated.
var codes = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._]{0,63}$`)

func printable(name string) string {
	if !codes.MatchString(name) {
		return "of unknown name"
	}
	return name
}

// unreached says why there was no answer that makes sense.
func unreached(err error) string {
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		return "what answers there is not AWS"
	}
	return egress.Why(err, requestTimeout)
}

// retryAfter reads the header of that name, in seconds; 0 if there is none.
func retryAfter(err error) time.Duration {
	var answer *smithyhttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return 0
	}
	seconds, err := strconv.ParseUint(answer.Response.Header.Get("Retry-After"), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second
}
