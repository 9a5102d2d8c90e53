package messages

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"cloud.google.com/go/datastore"
)

// Mutation is a unit of work on one root entity and what lies under it. Other
// roots it changes by emitting mutations for them.
type Mutation interface {
	// Type is the mutation's name in the journal, which must outlive renamed
	// Go types.
	Type() string
	// Target is the root that the mutation changes.
	Target(namespace string) *datastore.Key
	// Run changes r, in a transaction that it may share with other mutations
	// of the same root. It must be idempotent: it runs at least once. After an
	// error its writes are discarded, and the mutation runs again later.
	Run(ctx context.Context, r *Root) error
}

// mutationTypes are the mutations that the journal may hold, by their Type.
type mutationTypes map[string]func() Mutation

const (
	journalKind    = "tumble.Mutation"
	journalVersion = 1
)

// journalEntry is a mutation that waits. It lies under the root of its writer.
type journalEntry struct {
	ExpandedShard int64          // hash of TargetRoot: which shard, for any number of shards
	ProcessAfter  time.Time      // not before
	TargetRoot    *datastore.Key // whom it changes
	Failures      int            `datastore:",noindex"` // so far
	Version       int            `datastore:",noindex"`
	Type          string         `datastore:",noindex"`
	Data          []byte         `datastore:",noindex"` // the mutation as JSON
}

func (types mutationTypes) encode(m Mutation, namespace string, after time.Time) (*journalEntry, error) {
	name := m.Type()
	if types[name] == nil {
		return nil, fmt.Errorf("messages: %q is not a registered type of mutation", name)
	}
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("messages: encode mutation %q: %w", name, err)
	}
	root := m.Target(namespace)
	return &journalEntry{
		ExpandedShard: expandedShard(root),
		ProcessAfter:  after,
		TargetRoot:    root,
		Version:       journalVersion,
		Type:          name,
		Data:          data,
	}, nil
}

func (types mutationTypes) decode(e *journalEntry) (Mutation, error) {
	if e.Version > journalVersion {
		return nil, fmt.Errorf("messages: a mutation of version %d; this worker knows %d", e.Version, journalVersion)
	}
	zero, ok := types[e.Type]
	if !ok {
		return nil, fmt.Errorf("messages: a mutation of unknown type %q", e.Type)
	}
	m := zero()
	if err := json.Unmarshal(e.Data, m); err != nil {
		return nil, fmt.Errorf("messages: decode mutation %q: %w", e.Type, err)
	}
	return m, nil
}

// expandedShard spreads roots evenly over all int64. It is an address, not a
// secret, which is why SHA-1 does.
func expandedShard(root *datastore.Key) int64 {
	sum := sha1.Sum([]byte(root.Encode()))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}
