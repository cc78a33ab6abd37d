package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
)

// newAPIKey returns a random key of 256 bits and the setting that stores only its hash.
func newAPIKey() (key, hash string) {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
	key = base64.RawURLEncoding.EncodeToString(raw)
	sum := sha256.Sum256([]byte(key))
	return key, "sha256:" + hex.EncodeToString(sum[:])
}

func printNewAPIKey(w io.Writer) error {
	key, hash := newAPIKey()
	_, err := fmt.Fprintf(w, "key (give it to the client, it is not stored): %s\nAPI_KEYS entry for the server:                  %s\n", key, hash)
	return err
}
