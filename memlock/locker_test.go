package memlock_test

import (
	"testing"
	"testing/synctest"

	"github.com/bradfitz/gomemcache/memcache"
)

func bubble(t *testing.T, f func(*testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func item(key, value string) *memcache.Item {
	return &memcache.Item{Key: key, Value: []byte(value), Expiration: 60}
}
