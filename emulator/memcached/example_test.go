package memcached_test

import (
	"fmt"
	"net"

	"github.com/bradfitz/gomemcache/memcache"

	"github.com/latchwork/latchwork/emulator/memcached"
)

// A server on a free port, and a client of it.
func Example() {
	s, err := memcached.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()

	client := memcache.New(l.Addr().String())
	lock := &memcache.Item{Key: "lock", Value: []byte("me"), Expiration: 16}
	fmt.Println(client.Add(lock))
	fmt.Println(client.Add(lock))

	fmt.Println(s.Close(), <-served)
	// Output:
	// <nil>
	// memcache: item not stored
	// <nil> <nil>
}
