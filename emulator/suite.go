package emulator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/console"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/wire"
	"github.com/latchwork/latchwork/emulator/memcached"
)

// A Suite is a running set of emulators.
type Suite struct {
	options *Options
	started time.Time
	clock   *clock.Clock
	chaos   *chaos.Chaos

	cloudTasks *cloudtasks.Server
	datastore  *datastore.Server
	memcached  *memcached.Server
	parts      []part // in the order in which they were started
	serving    sync.WaitGroup

	mu   sync.Mutex
	err  error         // why a part stopped by itself
	done chan struct{} // closed with it, and by Close

	closing  sync.Once
	closeErr error
}

// part is a server with its listener.
type part struct {
	name     string
	flag     string
	listener net.Listener
	server   interface {
		Serve(net.Listener) error
		Close() error
	}
}

// Start starts the emulators. They answer when it returns, and run until Close;
// the end of ctx ends the start only.
func Start(ctx context.Context, o *Options) (*Suite, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	s := &Suite{options: o, started: time.Now(), clock: clock.New(), done: make(chan struct{})}
	if err := s.clock.Advance(o.Advance); err != nil {
		return nil, err
	}
	if s.chaos, err = chaos.New(o.Chaos, o.Logger); err != nil {
		return nil, err
	}
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// start listens everywhere before it makes a server, since a taken port is the
// likeliest thing to go wrong; then it reads the data. Cloud Tasks comes last,
// for its deliveries start at once and need the others.
func (s *Suite) start(ctx context.Context) error {
	o := s.options
	for _, p := range []struct{ name, flag, addr string }{
		{"datastore", datastoreFlag, o.DatastoreAddr},
		{"memcached", memcachedFlag, o.MemcachedAddr},
		{"cloudtasks", cloudTasksFlag, o.CloudTasksAddr},
		{"console", consoleFlag, o.ConsoleAddr},
	} {
		if p.addr == "" {
			continue
		}
		l, err := o.Listen("tcp", p.addr)
		if err != nil {
			return &AddrError{p.flag, p.addr, err}
		}
		s.parts = append(s.parts, part{name: p.name, flag: p.flag, listener: l})
	}
	for i := range s.parts {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.makeServer(&s.parts[i]); err != nil {
			return err
		}
		p := s.parts[i]
		s.serving.Go(func() {
			if err := p.server.Serve(p.listener); err != nil {
				s.fail(fmt.Errorf("%s on %s: %w", p.name, p.listener.Addr(), err))
			}
		})
	}
	return nil
}

func (s *Suite) makeServer(p *part) (err error) {
	switch p.name {
	case "datastore":
		if s.datastore, err = datastore.New(s.options.datastore(s.clock, s.chaos)); err == nil {
			p.server = s.datastore
		}
	case "memcached":
		if s.memcached, err = memcached.New(s.options.memcached(s.clock, s.chaos)); err == nil {
			p.server = s.memcached
		}
	case "cloudtasks":
		if s.cloudTasks, err = cloudtasks.New(s.options.cloudTasks(s.clock, s.chaos, s.admin())); err == nil {
			p.server = s.cloudTasks
		}
	case "console":
		page, err := console.New(s.status)
		if err != nil {
			return err
		}
		p.server = &wire.Server{HTTP: page, AllowHosts: s.options.AllowHosts, Logger: s.options.Logger}
	}
	return err
}

// fail notes that a part has stopped by itself.
func (s *Suite) fail(err error) {
	s.options.Logger.Error("an emulator has stopped", "err", err)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.stop()
	}
}

// stop closes done, once. mu is held.
func (s *Suite) stop() {
	select {
	case <-s.done:
	default:
		close(s.done)
	}
}

// Clock is the clock of all servers: what waits for a date follows it. It can be
// frozen and advanced, and never goes back. It isn't kept: the next suite, on the
// same data folder too, starts at the machine's time again, and what was made for
// later or by a clock ahead waits until then.
func (s *Suite) Clock() *Clock { return s.clock }

// Chaos decides which faults the servers inject. Its settings can be changed at
// any time.
func (s *Suite) Chaos() *Chaos { return s.chaos }

// A Clock can be frozen and advanced.
type Clock = clock.Clock

// A Chaos decides which faults strike, and counts them.
type Chaos = chaos.Chaos

// Done is closed when a server has stopped by itself, and by Close.
func (s *Suite) Done() <-chan struct{} { return s.done }

// Err returns why a server has stopped by itself, or nil.
func (s *Suite) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Close stops everything, deliveries first, and frees the data folder. Closing
// again returns the same.
func (s *Suite) Close() error {
	s.closing.Do(func() {
		s.mu.Lock()
		s.stop()
		s.mu.Unlock()
		for _, p := range slices.Backward(s.parts) {
			if p.server != nil {
				if err := p.server.Close(); err != nil {
					s.closeErr = errors.Join(s.closeErr, fmt.Errorf("%s: %w", p.name, err))
				}
			}
			_ = p.listener.Close() // mostly closed already, by its server
		}
		s.serving.Wait()
	})
	return s.closeErr
}

// CloudTasksAddr returns where Cloud Tasks listens, host:port.
func (s *Suite) CloudTasksAddr() string { return s.addr(cloudTasksFlag) }

// DatastoreAddr returns where Datastore listens, host:port.
func (s *Suite) DatastoreAddr() string { return s.addr(datastoreFlag) }

// MemcachedAddr returns where memcached listens, host:port.
func (s *Suite) MemcachedAddr() string { return s.addr(memcachedFlag) }

// ConsoleAddr returns where the console listens, host:port, or "" without one.
func (s *Suite) ConsoleAddr() string { return s.addr(consoleFlag) }

func (s *Suite) addr(flag string) string {
	for _, p := range s.parts {
		if p.flag == flag {
			return p.listener.Addr().String()
		}
	}
	return ""
}

// Env returns the environment, as NAME=VALUE, that leads clients to the suite.
func (s *Suite) Env() []string {
	return []string{
		"CLOUD_TASKS_EMULATOR_HOST=" + s.CloudTasksAddr(),
		"DATASTORE_EMULATOR_HOST=" + s.DatastoreAddr(),
		"MEMCACHE_ADDRS=" + s.MemcachedAddr(),
	}
}
