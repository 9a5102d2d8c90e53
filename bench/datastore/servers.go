package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	ds "cloud.google.com/go/datastore"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// contender is one emulator that can be started any number of times.
type contender struct {
	name    string
	persist bool // keeps what it is given in a folder
	command func(ctx context.Context, port, dir string) *exec.Cmd
}

// contenders are Latchwork, built into the folder, and those of Google's
// emulators that are installed; missing says which are not.
func contenders(ctx context.Context, folder string) (all []contender, missing error) {
	binary := filepath.Join(folder, "latchwork")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, ".")
	build.Dir = ".." // the repository: this is a module of its own
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return nil, fmt.Errorf("building Latchwork: %w", err)
	}
	all = append(all, contender{name: "Latchwork", persist: true, command: func(ctx context.Context, port, dir string) *exec.Cmd {
		args := []string{"emulator", "--datastore-addr", "127.0.0.1:" + port, "--cloud-tasks-addr", "127.0.0.1:0",
			"--memcached-addr", "127.0.0.1:0", "--console-addr", "off", "--index-mode", "off"}
		if dir == "" {
			args = append(args, "--ephemeral")
		} else {
			args = append(args, "--data", dir)
		}
		return exec.CommandContext(ctx, binary, args...)
	}})

	sdk, err := exec.CommandContext(ctx, "gcloud", "info", "--format=value(installation.sdk_root)").Output()
	if err != nil {
		return all, fmt.Errorf("the Google Cloud CLI: %w", err)
	}
	platform := filepath.Join(strings.TrimSpace(string(sdk)), "platform")
	if _, err := exec.LookPath("java"); err != nil {
		return all, err
	}
	firestore := filepath.Join(platform, "cloud-firestore-emulator", "cloud-firestore-emulator.jar")
	if _, err := os.Stat(firestore); err != nil {
		missing = err
	} else {
		all = append(all, contender{name: "Firestore emulator", command: func(ctx context.Context, port, _ string) *exec.Cmd {
			return exec.CommandContext(ctx, "java", "-Duser.language=en", "-cp", firestore,
				"com.google.cloud.datastore.emulator.firestore.CloudFirestore",
				"--host=127.0.0.1", "--port="+port, "--database-mode=datastore-mode")
		}})
	}
	older := filepath.Join(platform, "cloud-datastore-emulator", "CloudDatastore.jar")
	if _, err := os.Stat(older); err != nil {
		return all, errors.Join(missing, err)
	}
	const class = "com.google.cloud.datastore.emulator.CloudDatastore"
	all = append(all, contender{name: "Datastore emulator", persist: true, command: func(ctx context.Context, port, dir string) *exec.Cmd {
		args := []string{"-cp", older, class, "start", "--host=127.0.0.1", "--port=" + port, "--firestore_in_datastore_mode"}
		if dir == "" {
			dir = filepath.Join(folder, "memory")
			args = append(args, "--store_on_disk=false")
		}
		if _, err := os.Stat(dir); err != nil {
			create := exec.CommandContext(ctx, "java", "-cp", older, class, "create", dir)
			if out, err := create.CombinedOutput(); err != nil {
				fmt.Fprintf(os.Stderr, "%v: %v\n%s", create, err, out)
			}
		}
		return exec.CommandContext(ctx, "java", append(args, dir)...)
	}})
	return all, missing
}

// server is a running contender.
type server struct {
	contender
	cmd    *exec.Cmd
	addr   string
	client *ds.Client
}

// start runs the contender with its data in dir ("": in memory) and returns
// when it has answered.
func (c contender) start(ctx context.Context, dir string) (*server, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		return nil, err
	}
	s := &server{contender: c, cmd: c.command(ctx, port, dir), addr: "127.0.0.1:" + port}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for !s.answers(ctx) {
		select {
		case <-ctx.Done():
			s.stop()
			return nil, fmt.Errorf("%s did not answer: %w", c.name, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
	s.client, err = ds.NewClient(context.WithoutCancel(ctx), "bench",
		option.WithEndpoint("passthrough:///"+s.addr), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	return s, err
}

// answers reports whether the server says that it is ready.
func (s *server) answers(ctx context.Context) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+"/", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil
}

// stop ends the process and waits for it; politely, so that it stores its data.
func (s *server) stop() {
	if s.client != nil {
		_ = s.client.Close()
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.cmd.Wait()
	}()
	_ = s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = s.cmd.Process.Kill()
		<-ended
	}
}

// cpu is the processor time that the process has used.
func (s *server) cpu() time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	// The second field, the name in parentheses, may hold spaces.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // utime and stime
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// rss is the resident memory in bytes.
func (s *server) rss() int64 {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return n << 10
		}
	}
	return 0
}
