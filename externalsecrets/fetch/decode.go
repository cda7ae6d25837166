package fetch

import (
	"encoding/base64"
	"fmt"

	esv1 "github.com/lockstep-dev/lockstep/apis/externalsecrets/v1"
)

// Decode decodes value as strategy says. Auto takes the first of Base64 and
// Base64URL that fits, and the value as it is if neither does.
func Decode(strategy esv1.DecodingStrategy, value []byte) ([]byte, error) {
	switch strategy {
	case "", esv1.DecodeNone:
		return value, nil
	case esv1.DecodeBase64:
		return decode(base64.StdEncoding, value, strategy)
	case esv1.DecodeBase64URL:
		return decode(base64.URLEncoding, value, strategy)
	case esv1.DecodeAuto:
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
			if out, err := decode(encoding, value, strategy); err == nil {
				return out, nil
			}
		}
		return value, nil
	default:
		return nil, fmt.Errorf("%w: decodingStrategy %q is none of None, Base64, Base64URL and Auto", ErrMalformed, strategy)
	}
}

func decode(encoding *base64.Encoding, value []byte, strategy esv1.DecodingStrategy) ([]byte, error) {
	out := make([]byte, encoding.DecodedLen(len(value)))
	n, err := encoding.Decode(out, value)
	if err != nil {
		// The library's message is left out: it tells about the value.
		return nil, fmt.Errorf("%w: it is not %s: correct it, or decodingStrategy", ErrMalformed, strategy)
	}
	return out[:n], nil
}
