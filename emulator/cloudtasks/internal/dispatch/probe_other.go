//go:build !unix

package dispatch

import "net"

// Whether an idle connection still stands can't be seen here, so all is left to
// net/http, which reads ahead.
const canProbe = false

type probe struct{}

func newProbe(net.Conn) *probe { return nil }

func (*probe) silent() bool { return false }
