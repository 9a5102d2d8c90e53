package tasks

import (
	"context"
	"sync"
	"time"

	"cloud.google.com/go/datastore"
)

// Tx is a Datastore transaction that can enqueue. It ends when the function
// that it was given to returns or is given up on; from then on its methods
// return [ErrTxDone]. Its methods may be called concurrently.
//
// Reads don't see the transaction's own writes.
type Tx struct {
	client *Client
	ctx    context.Context // of the function
	leash  *leash          // of the RPCs: ctx, until the rollback
	tx     *datastore.Transaction

	first chan struct{} // holds a token until a read has begun the transaction

	mu      sync.Mutex
	done    bool
	ops     int           // reads under way
	idle    chan struct{} // closed when done and no read is under way
	trouble error         // the first transient error of an RPC
	staged  []message
}

func (c *Client) newTx(ctx context.Context) (*Tx, error) {
	l := &leash{Context: ctx, holder: ctx}
	var begin []datastore.TransactionOption
	if !c.o.EagerBegin {
		begin = append(begin, datastore.BeginLater) // by the first read: saves an RPC
	}
	dtx, err := c.ds.NewTransaction(l, begin...)
	if err != nil {
		return nil, &TxError{RPC: err}
	}
	first := make(chan struct{}, 1)
	first <- struct{}{}
	return &Tx{client: c, ctx: ctx, leash: l, tx: dtx, first: first, idle: make(chan struct{})}, nil
}

// Get loads the entity of key into dst; datastore.ErrNoSuchEntity when there
// is none.
func (tx *Tx) Get(key *datastore.Key, dst any) error {
	return tx.read(func() error { return tx.tx.Get(key, dst) })
}

// GetMulti is Get for many keys; see datastore.Client.GetMulti for dst.
func (tx *Tx) GetMulti(keys []*datastore.Key, dst any) error {
	return tx.read(func() error { return tx.tx.GetMulti(keys, dst) })
}

// GetAll runs q in the transaction and appends its results to *dst, which a
// keys-only query leaves alone (and may be nil).
func (tx *Tx) GetAll(q *datastore.Query, dst any) (keys []*datastore.Key, err error) {
	err = tx.read(func() (err error) {
		keys, err = tx.client.ds.GetAll(tx.leash, q.Transaction(tx.tx), dst)
		return err
	})
	return keys, err
}

// Put writes src under key on commit.
func (tx *Tx) Put(key *datastore.Key, src any) (p *datastore.PendingKey, err error) {
	err = tx.write(func() (err error) { p, err = tx.tx.Put(key, src); return err })
	return p, err
}

// PutMulti is Put for many keys.
func (tx *Tx) PutMulti(keys []*datastore.Key, src any) (p []*datastore.PendingKey, err error) {
	err = tx.write(func() (err error) { p, err = tx.tx.PutMulti(keys, src); return err })
	return p, err
}

// Delete deletes key on commit.
func (tx *Tx) Delete(key *datastore.Key) error {
	return tx.write(func() error { return tx.tx.Delete(key) })
}

// DeleteMulti is Delete for many keys.
func (tx *Tx) DeleteMulti(keys []*datastore.Key) error {
	return tx.write(func() error { return tx.tx.DeleteMulti(keys) })
}

// Mutate applies mutations (insert, update, upsert, delete) on commit.
func (tx *Tx) Mutate(m ...*datastore.Mutation) (p []*datastore.PendingKey, err error) {
	err = tx.write(func() (err error) { p, err = tx.tx.Mutate(m...); return err })
	return p, err
}

// Client is the client that runs the transaction.
func (tx *Tx) Client() *Client { return tx.client }

// Follow stages the next hop of an execution, due at eta: for the runner, which
// records in the ledger, in the same transaction, that the hop before is over.
func (tx *Tx) Follow(s Spec, e Envelope, eta time.Time) (Receipt, error) {
	m, err := tx.client.follow(s, e, eta)
	if err != nil {
		return Receipt{}, err
	}
	return tx.stage(m)
}

func (tx *Tx) stage(m message) (Receipt, error) {
	err := tx.write(func() error { tx.staged = append(tx.staged, m); return nil })
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{ID: m.Envelope.ID, TaskName: m.Name}, nil
}

// write runs f, which does no I/O.
func (tx *Tx) write(f func() error) error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.done {
		return ErrTxDone
	}
	return f()
}

// read runs f, whose RPC joins or begins the transaction. Until one has begun
// it, reads go one by one: two that began would leave one of the server's
// transactions, with its locks, to its idle limit.
func (tx *Tx) read(f func() error) error {
	tx.mu.Lock()
	if tx.done {
		tx.mu.Unlock()
		return ErrTxDone
	}
	tx.ops++
	tx.mu.Unlock()
	defer tx.leave()

	if tx.ctx.Err() != nil { // not trouble of an RPC: none is made
		return context.Cause(tx.ctx)
	}
	select {
	case _, more := <-tx.first:
		if more {
			defer tx.begun()
		}
	case <-tx.ctx.Done():
		return context.Cause(tx.ctx)
	}
	err := f()
	if code, ok := rpcCode(err); ok && transient(code) {
		tx.mu.Lock()
		if tx.trouble == nil {
			tx.trouble = err
		}
		tx.mu.Unlock()
	}
	return err
}

// begun lets other reads go, all at once when the transaction has begun. (A
// failed first read may have begun nothing; the second may then run beside
// others, which costs a stray transaction at worst.)
func (tx *Tx) begun() { close(tx.first) }

func (tx *Tx) leave() {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	tx.ops--
	if tx.done && tx.ops == 0 {
		close(tx.idle)
	}
}

// end makes every later call fail, and reports trouble and what was staged.
func (tx *Tx) end() (staged []message, trouble error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if !tx.done {
		tx.done = true
		if tx.ops == 0 {
			close(tx.idle)
		}
	}
	return tx.staged, tx.trouble
}

// rollbackWait bounds the wait for reads under way, and the rollback itself.
const rollbackWait = 5 * time.Second

// rollback gives the transaction's locks back: under pessimistic concurrency
// the next transaction waits for them. It works when ctx has ended, too.
func (tx *Tx) rollback() {
	_, _ = tx.end() // a panic of the function may have come before
	ctx, cancel := context.WithTimeout(context.WithoutCancel(tx.ctx), rollbackWait)
	defer cancel()
	select {
	case <-tx.idle:
	case <-ctx.Done():
		tx.client.log.WarnContext(ctx, "a read outlives its transaction, which is left to its idle limit")
		return
	}
	tx.leash.hand(ctx)
	if err := tx.tx.Rollback(); err != nil {
		tx.client.log.DebugContext(ctx, "rollback failed; the transaction is left to its idle limit", "error", err)
	}
}

// leash is the context of a transaction's RPCs. datastore.Transaction takes one
// context for all of them; the leash lets the rollback outlive the one of the
// reads and the commit.
type leash struct {
	context.Context // for Value

	mu     sync.Mutex
	holder context.Context
}

func (l *leash) hand(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holder = ctx
}

func (l *leash) held() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

func (l *leash) Deadline() (time.Time, bool) { return l.held().Deadline() }
func (l *leash) Done() <-chan struct{}       { return l.held().Done() }
func (l *leash) Err() error                  { return l.held().Err() }
