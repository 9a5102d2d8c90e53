package tasks

import "cloud.google.com/go/datastore"

// Tx is a Datastore transaction that can enqueue. It ends when the function
// that it was given to returns; using it later is an error. Reads may run
// concurrently; writes may not.
type Tx struct{}

// Get loads the entity of key into dst; datastore.ErrNoSuchEntity when there
// is none. It does not see the transaction's own writes.
func (tx *Tx) Get(key *datastore.Key, dst any) error { return errNotBuilt }

// GetMulti is Get for many keys; see datastore.Client.GetMulti for dst.
func (tx *Tx) GetMulti(keys []*datastore.Key, dst any) error { return errNotBuilt }

// GetAll runs q in the transaction and appends its results to *dst.
func (tx *Tx) GetAll(q *datastore.Query, dst any) ([]*datastore.Key, error) { return nil, errNotBuilt }

// Put writes src under key on commit.
func (tx *Tx) Put(key *datastore.Key, src any) (*datastore.PendingKey, error) {
	return nil, errNotBuilt
}

// PutMulti is Put for many keys.
func (tx *Tx) PutMulti(keys []*datastore.Key, src any) ([]*datastore.PendingKey, error) {
	return nil, errNotBuilt
}

// Delete deletes key on commit.
func (tx *Tx) Delete(key *datastore.Key) error { return errNotBuilt }

// DeleteMulti is Delete for many keys.
func (tx *Tx) DeleteMulti(keys []*datastore.Key) error { return errNotBuilt }

// Mutate applies mutations (insert, update, upsert, delete) on commit.
func (tx *Tx) Mutate(m ...*datastore.Mutation) ([]*datastore.PendingKey, error) {
	return nil, errNotBuilt
}
