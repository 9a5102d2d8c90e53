package oracle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	pb "cloud.google.com/go/datastore/apiv1/datastorepb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Kind is one of Google's emulators.
type Kind string

// The emulators, by the names that the table of differences uses.
const (
	FS Kind = "FS" // the Firestore emulator in Datastore mode
	DS Kind = "DS" // the older Datastore emulator, as Firestore in Datastore mode
)

// MissingError says that an emulator can't be started on this machine.
type MissingError struct {
	Kind  Kind
	Cause error
}

func (e *MissingError) Error() string {
	component := "cloud-firestore-emulator"
	if e.Kind == DS {
		component = "cloud-datastore-emulator"
	}
	return fmt.Sprintf("%s can't be started: %v: install the Google Cloud CLI with the component %s, and Java 17 or newer", e.Kind, e.Cause, component)
}

func (e *MissingError) Unwrap() error { return e.Cause }

// Process is a running emulator.
type Process struct {
	Kind   Kind
	Addr   string
	Client pb.DatastoreClient

	cmd   *exec.Cmd
	conn  *grpc.ClientConn
	dir   string // of its own, removed by Close
	ended chan struct{}
}

// maxMessage is what a client takes: Google's emulators know no batches.
const maxMessage = 64 << 20

// Start runs an emulator on a free port and returns when it answers. Its data
// are kept in memory.
func Start(ctx context.Context, kind Kind) (*Process, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, &MissingError{kind, err}
	}
	out, err := exec.CommandContext(ctx, "gcloud", "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		return nil, &MissingError{kind, err}
	}
	platform := filepath.Join(strings.TrimSpace(string(out)), "platform")
	jar := filepath.Join(platform, "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
	if kind == DS {
		jar = filepath.Join(platform, "cloud-datastore-emulator", "CloudDatastore.jar")
	}
	if _, err := os.Stat(jar); err != nil {
		return nil, &MissingError{kind, err}
	}
	for attempt := 0; ; attempt++ {
		// Somebody may take the port between our look and theirs.
		p, err := start(ctx, kind, java, jar)
		if err == nil || attempt == 3 || ctx.Err() != nil {
			return p, err
		}
	}
}

func start(ctx context.Context, kind Kind, java, jar string) (_ *Process, err error) {
	p := &Process{Kind: kind, ended: make(chan struct{})}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.Addr = l.Addr().String()
	l.Close()
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		return nil, err
	}
	args := []string{"-Duser.language=en", "-Xmx512m", "-cp", jar}
	if kind == FS {
		args = append(args, "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
			"--host=127.0.0.1", "--port="+port, "--database-mode=datastore-mode")
	} else {
		if p.dir, err = os.MkdirTemp("", "datastore-emulator-"); err != nil {
			return nil, err
		}
		const class = "com.google.cloud.datastore.emulator.CloudDatastore"
		dir := filepath.Join(p.dir, "data")
		if out, err := exec.CommandContext(ctx, java, append(args, class, "create", dir)...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("create: %w: %s", err, out)
		}
		args = append(args, class, "start", "--host=127.0.0.1", "--port="+port,
			"--firestore_in_datastore_mode", "--store_on_disk=false", dir)
	}
	// Not CommandContext: the process lives until Close, not until ctx ends.
	p.cmd = exec.Command(java, args...) //nolint:noctx // see above
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	if err := p.ready(ctx); err != nil {
		return nil, err
	}
	p.conn, err = grpc.NewClient("passthrough:///"+p.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)))
	if err != nil {
		return nil, err
	}
	p.Client = pb.NewDatastoreClient(p.conn)
	return p, nil
}

// ready waits until the emulator answers, at most a minute.
func (p *Process) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addr+"/", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return errors.New("the emulator ended instead of serving")
		case <-ctx.Done():
			return fmt.Errorf("the emulator does not answer: %w", ctx.Err())
		}
	}
}

// Close ends the process and waits for its end.
func (p *Process) Close() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}
