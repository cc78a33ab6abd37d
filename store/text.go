package store

import (
	"strings"
	"unicode/utf8"
)

// How long texts from outside may be, in characters: what programs that read these columns expect.
const (
	maxActor      = 100
	maxResourceID = 255
	maxIPAddress  = 45
	maxUserAgent  = 1000
	maxLevel      = 10
	maxComponent  = 50
	maxMessage    = 8000
	maxCameraID   = 100
	maxRequestID  = 128
	maxCause      = 2000
	maxObjectType = 100
	maxText       = 20000
	maxExtraBytes = 64 * 1024
)

// clean makes a text storable: PostgreSQL refuses NUL and whatever is not UTF-8. It is cut at limit
// characters.
func clean(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if len(s) <= limit || utf8.RuneCountInString(s) <= limit {
		return s
	}
	n := 0
	for i := range s {
		if n == limit {
			return s[:i]
		}
		n++
	}
	return s
}
