package rehearsal

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// KeysHost is where Google publishes the keys of its tokens. The emulator of Cloud
// Tasks has to answer to this name: emulator.Options.AllowHosts.
const KeysHost = "www.googleapis.com"

// Options say who answers. All are required.
type Options struct {
	Project    string
	CloudTasks string // the emulator's address
	Datastore  string // likewise
	Dir        string // for the certificate that the process shall trust
}

// Cloud is Google's end of a process's calls.
type Cloud struct {
	hosts       map[string]endpoint
	certificate tls.Certificate
	trusted     string // the file
	proxy       net.Listener
	metadata    *http.Server
	metadataAt  string

	serving sync.WaitGroup
	mu      sync.Mutex
	closed  bool
	open    map[net.Conn]bool
	calls   map[string]int // connections by host
}

// endpoint is who answers to a host name, and in which protocol.
type endpoint struct{ addr, protocol string }

// Start listens on loopback, until Close.
func Start(o Options) (_ *Cloud, err error) {
	c := &Cloud{
		hosts: map[string]endpoint{
			"cloudtasks.googleapis.com": {o.CloudTasks, "h2"},
			"datastore.googleapis.com":  {o.Datastore, "h2"},
			KeysHost:                    {o.CloudTasks, "http/1.1"},
		},
		open:  map[net.Conn]bool{},
		calls: map[string]int{},
	}
	if err := c.certify(o.Dir); err != nil {
		return nil, err
	}
	if c.proxy, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // a listener of loopback is there at once
		return nil, err
	}
	metadata, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // likewise
	if err != nil {
		return nil, errors.Join(err, c.proxy.Close())
	}
	c.metadataAt = metadata.Addr().String()
	c.metadata = &http.Server{Handler: metadataOf(o.Project), ReadHeaderTimeout: time.Minute}
	c.serving.Go(func() { c.metadata.Serve(metadata) }) //nolint:errcheck // it ends with Close
	c.serving.Go(c.accept)
	return c, nil
}

// Env is what makes a process take c for Google Cloud.
func (c *Cloud) Env() []string {
	return []string{
		"HTTPS_PROXY=http://" + c.proxy.Addr().String(),
		"SSL_CERT_FILE=" + c.trusted,
		"GCE_METADATA_HOST=" + c.metadataAt,
	}
}

// Calls counts the connections that were asked for, by host name.
func (c *Cloud) Calls() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Close ends all connections.
func (c *Cloud) Close() error {
	err := errors.Join(c.proxy.Close(), c.metadata.Close())
	c.mu.Lock()
	c.closed = true
	for conn := range c.open {
		conn.Close()
	}
	c.mu.Unlock()
	c.serving.Wait()
	return err
}

// certify makes the certificate of all hosts, which is its own authority.
func (c *Cloud) certify(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "rehearsal of Google Cloud"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:              slices.Collect(maps.Keys(c.hosts)),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	c.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	c.trusted = filepath.Join(dir, "google.pem")
	return os.WriteFile(c.trusted, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600)
}

func (c *Cloud) accept() {
	for {
		conn, err := c.proxy.Accept()
		if err != nil {
			return
		}
		c.serving.Go(func() {
			if c.hold(conn) {
				defer c.release(conn)
				c.tunnel(conn)
			}
		})
	}
}

// hold keeps a connection for Close to end. It fails after Close.
func (c *Cloud) hold(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return false
	}
	c.open[conn] = true
	return true
}

func (c *Cloud) release(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn.Close()
	delete(c.open, conn)
}

// tunnel answers a CONNECT as the host that it names: it ends the TLS, and hands
// the bytes within to the emulator.
func (c *Cloud) tunnel(conn net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(conn)) // what follows comes after our answer
	if err != nil {
		return
	}
	host, _, err := net.SplitHostPort(request.Host)
	if err != nil {
		host = request.Host
	}
	c.mu.Lock()
	c.calls[host]++
	c.mu.Unlock()
	to, known := c.hosts[host]
	if !known || request.Method != http.MethodConnect {
		fmt.Fprintf(conn, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
		return
	}
	server, err := net.Dial("tcp", to.addr) //nolint:noctx // to loopback, and ended by Close
	if err != nil {
		fmt.Fprintf(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
		return
	}
	if !c.hold(server) {
		return
	}
	defer c.release(server)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	client := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{c.certificate}, NextProtos: []string{to.protocol}, MinVersion: tls.VersionTLS12})
	c.serving.Go(func() {
		io.Copy(client, server) //nolint:errcheck // it ends with either end
		conn.Close()
	})
	io.Copy(server, client) //nolint:errcheck // likewise
}

// metadataOf is the metadata server as far as Google's clients ask it.
func metadataOf(project string) http.Handler {
	mux := http.NewServeMux()
	say := func(path, kind, text string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			w.Header().Set("Content-Type", kind)
			io.WriteString(w, text) //nolint:errcheck // nobody is left to tell
		})
	}
	say("/{$}", "text/plain", "")
	say("/computeMetadata/v1/project/project-id", "text/plain", project)
	say("/computeMetadata/v1/universe/universe-domain", "text/plain", "googleapis.com")
	say("/computeMetadata/v1/instance/service-accounts/default/email", "text/plain", "worker@"+project+".iam.gserviceaccount.com")
	say("/computeMetadata/v1/instance/service-accounts/default/token", "application/json", `{"access_token":"rehearsal","expires_in":3600,"token_type":"Bearer"}`)
	return mux
}
