package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// anonymous is the actor of a change when no key is required.
const anonymous = "anonymous"

// hashPrefix marks a configured key that is already hashed.
const hashPrefix = "sha256:"

// keys checks API keys. Only their hashes are kept.
type keys struct {
	enabled bool
	hashes  [][sha256.Size]byte
	compare func(a, b []byte) int // takes the same time whatever the two are
}

// newKeys takes plain keys and "sha256:<hex>" hashes. All problems are reported at once.
func newKeys(enabled bool, configured []string) (*keys, error) {
	k := &keys{enabled: enabled, compare: subtle.ConstantTimeCompare}
	var problems []error
	for i, key := range configured {
		if key == "" {
			problems = append(problems, fmt.Errorf("API_KEYS: key %d is empty", i+1))
			continue
		}
		hash := sha256.Sum256([]byte(key))
		if encoded, ok := strings.CutPrefix(key, hashPrefix); ok {
			decoded, err := hex.DecodeString(encoded)
			if err != nil || len(decoded) != sha256.Size {
				problems = append(problems, fmt.Errorf("API_KEYS: key %d: sha256: must be followed by 64 hexadecimal digits", i+1))
				continue
			}
			hash = [sha256.Size]byte(decoded)
		}
		k.hashes = append(k.hashes, hash)
	}
	if enabled && len(configured) == 0 {
		problems = append(problems, errors.New("API_KEYS: API_KEY_ENABLED is true but there is no key"))
	}
	return k, errors.Join(problems...)
}

// isPrivate tells the paths that show what the cameras saw.
func isPrivate(path string) bool {
	switch {
	case path == "/ws/events", path == "/ws/system":
		return true
	case path == "/api/session", strings.HasPrefix(path, "/api/system/"):
		return false
	}
	return strings.HasPrefix(path, "/api/")
}

// actor names who sends the request, for the audit log: the start of the key's hash, or anonymous when no key is required.
// A missing or wrong key is a 401. The key is read from the header alone, since addresses end up in logs.
func (k *keys) actor(r *http.Request) (string, error) {
	if !k.enabled {
		return anonymous, nil
	}
	sent := r.Header.Values("X-API-Key")
	if len(sent) == 0 || len(sent) == 1 && sent[0] == "" {
		return "", unauthorized("API key required. Provide via X-API-Key header.")
	}
	hash := sha256.Sum256([]byte(sent[0]))
	// Every key is compared, so that the time tells neither whether nor which one matches.
	match := 0
	for i := range k.hashes {
		match |= k.compare(hash[:], k.hashes[i][:])
	}
	if match == 0 || len(sent) > 1 {
		return "", unauthorized("Invalid API key")
	}
	return "api_key:" + hex.EncodeToString(hash[:4]), nil
}

func unauthorized(detail string) *problem {
	return &problem{status: http.StatusUnauthorized, detail: detail, header: "WWW-Authenticate", value: `ApiKey realm="X-API-Key"`}
}
