package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/latchwork/latchwork/emulator/cloudtasks"
	"github.com/latchwork/latchwork/emulator/datastore"
	"github.com/latchwork/latchwork/emulator/internal/chaos"
	"github.com/latchwork/latchwork/emulator/internal/clock"
	"github.com/latchwork/latchwork/emulator/internal/journal"
	"github.com/latchwork/latchwork/emulator/memcached"
)

// Options tunes a Suite. Nil and the zero value run everything in memory on free
// loopback ports, without a console.
type Options struct {
	// Where to listen, host:port; port 0 picks a free one. "" means 127.0.0.1:0,
	// but for the console, which it leaves out.
	CloudTasksAddr, DatastoreAddr, MemcachedAddr, ConsoleAddr string

	// AllowRemote permits addresses beyond loopback. Whoever reaches them can
	// read and change everything, and make the task queue send requests.
	AllowRemote bool

	// AllowHosts are Hosts that HTTP/1.1 requests may name, besides loopback
	// names and IP addresses.
	AllowHosts []string

	// Dir is the data folder, of which each server gets a subfolder; "" keeps
	// everything in memory. Fsync is never, interval (the default) or always.
	Dir   string
	Fsync string

	// Chaos is what the servers do wrong; it can be changed while they run.
	// Advance is how far ahead of the machine's clock theirs starts.
	Chaos   ChaosSettings
	Advance time.Duration

	// The servers' own options. What they leave empty of Dir, Fsync, AllowHosts
	// and Logger comes from here, and so do clock, chaos and admin paths.
	Memcached  *memcached.Options
	Datastore  *datastore.Options
	CloudTasks *cloudtasks.Options

	Listen func(network, addr string) (net.Listener, error) // nil: net.Listen
	Logger *slog.Logger                                     // nil discards
}

// ChaosSettings say what goes wrong, and how often.
type ChaosSettings = chaos.Settings

// The flags of the program that set the addresses.
const (
	cloudTasksFlag = "--cloud-tasks-addr"
	datastoreFlag  = "--datastore-addr"
	memcachedFlag  = "--memcached-addr"
	consoleFlag    = "--console-addr"
)

// An AddrError says which address can't be listened on, and why.
type AddrError struct {
	Flag string // of the program, such as --datastore-addr
	Addr string
	Err  error
}

// Error names the flag and the address, and the remedy for a port that is taken.
func (e *AddrError) Error() string {
	if errors.Is(e.Err, syscall.EADDRINUSE) {
		return fmt.Sprintf("%s %s: the port is taken by another program; choose another, or port 0 for a free one", e.Flag, e.Addr)
	}
	return fmt.Sprintf("%s %s: %v", e.Flag, e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *AddrError) Unwrap() error { return e.Err }

// ErrRemote is the cause of the AddrError for an address beyond loopback.
var ErrRemote = errors.New("listening beyond loopback lets everyone who reaches the port read and change everything; it needs --allow-remote")

// checkAddr holds an address to the rules, before anything listens.
func (o *Options) checkAddr(flag, addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &AddrError{flag, addr, errors.New("must be host:port")}
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return &AddrError{flag, addr, fmt.Errorf("port %q: must be a number from 0 to 65535", port)}
	}
	if !o.AllowRemote && !isLoopback(host) {
		return &AddrError{flag, addr, ErrRemote}
	}
	return nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// check returns the options with their defaults, or the first broken rule.
func (o *Options) check() (*Options, error) {
	full := Options{}
	if o != nil {
		full = *o
	}
	const free = "127.0.0.1:0"
	full.CloudTasksAddr = cmp.Or(full.CloudTasksAddr, free)
	full.DatastoreAddr = cmp.Or(full.DatastoreAddr, free)
	full.MemcachedAddr = cmp.Or(full.MemcachedAddr, free)
	if full.Listen == nil {
		full.Listen = net.Listen
	}
	if full.Logger == nil {
		full.Logger = slog.New(slog.DiscardHandler)
	}
	for _, a := range []struct{ flag, addr string }{
		{cloudTasksFlag, full.CloudTasksAddr}, {datastoreFlag, full.DatastoreAddr}, {memcachedFlag, full.MemcachedAddr}, {consoleFlag, full.ConsoleAddr},
	} {
		if a.flag == consoleFlag && a.addr == "" {
			continue
		}
		if err := full.checkAddr(a.flag, a.addr); err != nil {
			return nil, err
		}
	}
	if _, err := journal.ParseFsync(full.Fsync); err != nil {
		return nil, err
	}
	return &full, nil
}

// subfolder returns the data folder of one server.
func (o *Options) subfolder(name string) string {
	if o.Dir == "" {
		return ""
	}
	return filepath.Join(o.Dir, name)
}

func (o *Options) memcached(clk *clock.Clock, faults *chaos.Chaos) *memcached.Options {
	own := memcached.Options{}
	if o.Memcached != nil {
		own = *o.Memcached
	}
	own.Logger = cmp.Or(own.Logger, o.Logger)
	own.Clock, own.Chaos = clk, faults
	return &own
}

func (o *Options) datastore(clk *clock.Clock, faults *chaos.Chaos) *datastore.Options {
	own := datastore.Options{}
	if o.Datastore != nil {
		own = *o.Datastore
	}
	own.Dir = cmp.Or(own.Dir, o.subfolder("datastore"))
	own.Fsync = cmp.Or(own.Fsync, o.Fsync)
	own.Logger = cmp.Or(own.Logger, o.Logger)
	if own.AllowHosts == nil {
		own.AllowHosts = o.AllowHosts
	}
	own.Clock, own.Chaos = clk, faults
	return &own
}

func (o *Options) cloudTasks(clk *clock.Clock, faults *chaos.Chaos, admin http.Handler) *cloudtasks.Options {
	own := cloudtasks.Options{}
	if o.CloudTasks != nil {
		own = *o.CloudTasks
	}
	own.Dir = cmp.Or(own.Dir, o.subfolder("cloudtasks"))
	own.Fsync = cmp.Or(own.Fsync, o.Fsync)
	own.Logger = cmp.Or(own.Logger, o.Logger)
	if own.AllowHosts == nil {
		own.AllowHosts = o.AllowHosts
	}
	own.Clock, own.Chaos, own.Admin = clk, faults, admin
	return &own
}
