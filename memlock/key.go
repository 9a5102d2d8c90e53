package memlock

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

const (
	maxKeyLen      = 250 // of memcached, prefix included
	maxPrefixLen   = maxKeyLen - 2*sha256.Size
	maxClientIDLen = 1024
	maxQuoteLen    = 64 // of a value in an error
)

// storedKey is the name under which the lock of key is kept: the key behind the
// prefix, or its hash if that would be longer than memcached takes.
func storedKey(prefix, key string) (string, error) {
	if key == "" {
		return "", fmt.Errorf("%w: it is empty", ErrInvalidKey)
	}
	if err := checkBytes(key); err != nil {
		return "", fmt.Errorf("%w: %s: %w", ErrInvalidKey, quote(key), err)
	}
	if len(prefix)+len(key) <= maxKeyLen {
		return prefix + key, nil
	}
	sum := sha256.Sum256([]byte(key))
	return prefix + hex.EncodeToString(sum[:]), nil
}

// checkStoredKey holds a key given to a Store to memcached's rules. gomemcache
// checks them too, except that it sends an empty key, which breaks the protocol.
func checkStoredKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: it is empty", ErrInvalidKey)
	}
	if len(key) > maxKeyLen {
		return fmt.Errorf("%w: %s has %d bytes: at most %d are allowed", ErrInvalidKey, quote(key), len(key), maxKeyLen)
	}
	if err := checkBytes(key); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrInvalidKey, quote(key), err)
	}
	return nil
}

// checkBytes refuses what separates words in memcached's protocol.
func checkBytes(s string) error {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == 0x7f {
			return fmt.Errorf("byte 0x%02x at %d: control bytes and spaces are not allowed", c, i)
		}
	}
	return nil
}

func quote(s string) string {
	if len(s) <= maxQuoteLen {
		return strconv.Quote(s)
	}
	return strconv.Quote(s[:maxQuoteLen]) + "…"
}
