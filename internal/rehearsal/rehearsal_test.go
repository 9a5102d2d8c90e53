package rehearsal

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
)

// Google's names lead to the stand-ins, over TLS; every other host is refused, and
// counted.
func TestNothingLeavesTheMachine(t *testing.T) {
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host+r.URL.Path) }))
	defer keys.Close()
	c, err := Start(Options{Project: "p", CloudTasks: strings.TrimPrefix(keys.URL, "http://"), Datastore: "127.0.0.1:1", Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, e := range c.Env() {
		name, value, _ := strings.Cut(e, "=")
		env[name] = value
	}
	pem, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse(env["HTTPS_PROXY"])
	if err != nil {
		t.Fatal(err)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(pem)
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: trusted}}}
	get := func(url string) (string, error) {
		answer, err := client.Get(url)
		if err != nil {
			return "", err
		}
		defer answer.Body.Close()
		text, err := io.ReadAll(answer.Body)
		return string(text), err
	}

	if text, err := get("https://" + KeysHost + "/oauth2/v3/certs"); err != nil || text != KeysHost+"/oauth2/v3/certs" {
		t.Errorf("the keys: %q, %v", text, err)
	}
	for _, host := range []string{"example.com", "storage.googleapis.com"} {
		if text, err := get("https://" + host + "/"); err == nil {
			t.Errorf("%s answered %q", host, text)
		}
	}
	if text, err := get("https://datastore.googleapis.com/"); err == nil { // nobody listens there
		t.Errorf("a stand-in that is down answered %q", text)
	}
	if calls := c.Calls(); calls[KeysHost] != 1 || calls["example.com"] != 1 || calls["storage.googleapis.com"] != 1 {
		t.Errorf("the calls were %v", calls)
	}
	answer, err := http.Get("http://" + env["GCE_METADATA_HOST"] + "/computeMetadata/v1/project/project-id")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "p" || answer.Header.Get("Metadata-Flavor") != "Google" {
		t.Errorf("the metadata server says %q, %v", text, err)
	}

	client.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if _, err := get("https://" + KeysHost + "/"); err == nil {
		t.Error("it answers after Close")
	}
}

// The front end takes one host to the service, with the name that was asked for.
func TestFrontEnd(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
	defer service.Close()
	client := &http.Client{Transport: FrontEnd("w.run.app", strings.TrimPrefix(service.URL, "http://"))}
	for url, want := range map[string]string{"https://w.run.app/x": "w.run.app", service.URL: strings.TrimPrefix(service.URL, "http://")} {
		answer, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || string(text) != want {
			t.Errorf("%s: %q, %v, want %q", url, text, err, want)
		}
	}
	client.CloseIdleConnections()
}
