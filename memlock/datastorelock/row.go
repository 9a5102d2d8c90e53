package datastorelock

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/datastore"
)

const (
	ownerProperty  = "Owner"
	expiryProperty = "ExpireAt" // for the TTL policy, too

	maxNameLen = 1500 // of Datastore
	hashPrefix = "sha256:"
)

// key names the entity of a lock: by the lock's own key, which people can read,
// or by its hash where Datastore would refuse that.
func (s *Store) key(lock string) *datastore.Key {
	name := lock
	reserved := len(name) >= 4 && strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__")
	if reserved || len(name) > maxNameLen || !utf8.ValidString(name) || strings.HasPrefix(name, hashPrefix) {
		sum := sha256.Sum256([]byte(lock))
		name = hashPrefix + hex.EncodeToString(sum[:])
	}
	k := datastore.NameKey(s.kind, name, nil)
	k.Namespace = s.namespace
	return k
}

// A row is the entity of a lock.
type row struct {
	owner    string
	expireAt time.Time
}

// newRow is a lock from now on: Datastore keeps microseconds.
func newRow(owner string, ttl time.Duration) *row {
	return &row{owner, time.Now().Add(ttl).Truncate(time.Microsecond)}
}

// equal tells a write from any other of the same owner.
func (w *row) equal(v *row) bool { return w.owner == v.owner && w.expireAt.Equal(v.expireAt) }

// Save implements datastore.PropertyLoadSaver. An owner is any bytes; people see
// it as text where it is text.
func (w *row) Save() ([]datastore.Property, error) {
	var owner any = w.owner
	if !utf8.ValidString(w.owner) {
		owner = []byte(w.owner)
	}
	return []datastore.Property{
		{Name: ownerProperty, Value: owner, NoIndex: true},
		{Name: expiryProperty, Value: w.expireAt, NoIndex: true},
	}, nil
}

// Load implements datastore.PropertyLoadSaver.
func (w *row) Load(properties []datastore.Property) error {
	*w = row{}
	for _, p := range properties {
		switch v := p.Value.(type) {
		case string:
			if p.Name == ownerProperty {
				w.owner = v
			}
		case []byte:
			if p.Name == ownerProperty {
				w.owner = string(v)
			}
		case time.Time:
			if p.Name == expiryProperty {
				w.expireAt = v
			}
		}
	}
	if w.owner == "" || w.expireAt.IsZero() {
		return fmt.Errorf("the entity is no lock: it has no text %s or no time %s", ownerProperty, expiryProperty)
	}
	return nil
}

// live reports whether the lock is somebody's still.
func (s *Store) live(w *row) bool { return time.Now().Before(w.expireAt.Add(s.skew)) }
