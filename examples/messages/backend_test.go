package messages

import (
	"context"
	"crypto/rand"
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// The integration tests run over our own servers in fake time. These flags put
// others in their place; `make test-official` does so for each in turn.
var (
	datastoreFlag = flag.String("datastore", "embedded", "Datastore of the integration tests: embedded, firestore@HOST:PORT (Google's Firestore emulator in Datastore mode), or datastore@HOST:PORT (Google's older one)")
	locksFlag     = flag.String("locks", "embedded", "where their locks are kept: embedded (our memcached), memcached (the real one, a process for each test), or datastore")
)

// The servers that the flags name.
const (
	embedded       = "embedded"
	firestore      = "firestore"
	olderDatastore = "datastore"
	realMemcached  = "memcached"
	inDatastore    = "datastore"
)

// backend is the servers that a test runs over, beside our Cloud Tasks.
type backend struct {
	datastore string
	addr      string // of Google's emulator
	locks     string
}

func chosenBackend(t testing.TB) backend {
	t.Helper()
	name, addr, _ := strings.Cut(*datastoreFlag, "@")
	b := backend{name, addr, *locksFlag}
	if !slices.Contains([]string{embedded, firestore, olderDatastore}, name) || (name == embedded) != (addr == "") {
		t.Fatalf("-datastore=%s: must be embedded, firestore@HOST:PORT or datastore@HOST:PORT", *datastoreFlag)
	}
	if !slices.Contains([]string{embedded, realMemcached, inDatastore}, b.locks) {
		t.Fatalf("-locks=%s: must be embedded, memcached or datastore", *locksFlag)
	}
	return b
}

// clock is fake where all servers live in the bubble.
func (b backend) clock() clock {
	return clock{fake: b.datastore == embedded && b.locks != realMemcached}
}

// integration runs f over the chosen backend: in a bubble, or, since it mostly
// waits there, beside other tests.
func integration(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	if chosenBackend(t).clock().fake {
		synctest.Test(t, f)
	} else {
		t.Parallel()
		f(t)
	}
}

// variants begins a test of several variants, each an integration test. On the
// real clock they run beside all others.
func variants(t *testing.T) {
	t.Helper()
	if !chosenBackend(t).clock().fake {
		t.Parallel()
	}
}

// modes are the modes of concurrency that the chosen Datastore has.
func modes(t testing.TB) []string {
	switch chosenBackend(t).datastore {
	case firestore:
		return []string{"pessimistic"}
	case olderDatastore:
		return []string{"optimistic"}
	default:
		return []string{"pessimistic", "optimistic"}
	}
}

// differs ends the test, loudly, where a server of Google's is known to do
// something else than the service. source says who says so.
func (b backend) differs(t testing.TB, datastore, what, source string) {
	t.Helper()
	if b.datastore == datastore {
		t.Skipf("GOOGLE'S EMULATOR DIFFERS: %s (%s)", what, source)
	}
}

// newProject makes up a project: Google's emulators outlive a test, and keep
// projects apart.
func newProject() string { return "test-" + strings.ToLower(rand.Text()[:16]) }

// dial returns a client of Google's emulator.
func (b backend) dial(t testing.TB, project string, intercept ...grpc.UnaryClientInterceptor) *datastore.Client {
	t.Helper()
	c, err := datastore.NewClient(context.Background(), project,
		option.WithEndpoint("passthrough:///"+b.addr), option.WithoutAuthentication(), option.WithTelemetryDisabled(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
		option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(intercept...)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}
