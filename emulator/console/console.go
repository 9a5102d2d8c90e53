package console

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRows bounds each table of the page.
const maxRows = 500

// Status is what the page shows at one moment.
type Status struct {
	Err    error // why a server has stopped, nil while all run
	Uptime time.Duration
	Data   string // the data folder, "" when everything is in memory

	CloudTasks CloudTasks
	Datastore  Datastore
	Memcached  Memcached
}

// CloudTasks is the state of the queues.
type CloudTasks struct {
	Addr     string
	InFlight int // deliveries under way
	Queues   []Queue
}

// Queue is the state of one queue.
type Queue struct {
	Name               string // in full
	State              string // RUNNING or PAUSED
	Waiting, Running   int
	OldestETA          time.Time // zero when nothing waits
	ExecutedLastMinute uint64
	Attempts           uint64
	LastFailure        Failure
}

// Failure is the latest attempt of a queue that failed.
type Failure struct {
	At     time.Time // zero when there is none
	Task   string    // id
	Reason string
}

// Datastore is what is stored.
type Datastore struct {
	Addr         string
	Concurrency  string
	Transactions int // open
	Kinds        []Kind
}

// Kind is how many entities of a kind there are.
type Kind struct {
	Project, Database, Namespace, Name string
	Entities                           int
}

// Memcached is the state of the cache.
type Memcached struct {
	Addr            string
	Items           int
	Bytes, MaxBytes int64
	Conns, MaxConns int
	Hits, Misses    uint64
	Sets            uint64
	Evictions       uint64
}

//go:embed page.html style.css
var files embed.FS

// New returns the console's handler. read is called for every request, at any
// time and concurrently.
func New(read func() Status) (http.Handler, error) {
	page, err := template.New("page.html").Funcs(template.FuncMap{
		"bytes": humanBytes,
		"queue": shortName,
		"until": until,
		"cut":   cut,
		"hits":  hitRate,
		"round": func(d time.Duration) time.Duration { return d.Round(time.Second) },
		"first": func(n int) int { return min(n, maxRows) },
		"more":  func(n int) int { return n - maxRows },
	}).ParseFS(files, "page.html")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { show(w, r, page, read()) })
	mux.Handle("GET /style.css", http.FileServerFS(files))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := read().Err; err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return closed(mux), nil
}

// closed tells browsers what the page may do: next to nothing.
func closed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		header.Set("Referrer-Policy", "no-referrer")
		header.Set("Cache-Control", "no-store")
		h.ServeHTTP(w, r)
	})
}

// show renders the page; ?refresh=SECONDS (1 to 3600) makes it reload itself.
func show(w http.ResponseWriter, r *http.Request, page *template.Template, s Status) {
	refresh := 0
	if v := r.FormValue("refresh"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 3600 {
			http.Error(w, fmt.Sprintf("refresh %.20q: must be a number of seconds from 1 to 3600", v), http.StatusBadRequest)
			return
		}
		refresh = n
	}
	var b bytes.Buffer
	if err := page.Execute(&b, struct {
		Status
		Refresh int
		Now     time.Time
	}{s, refresh, time.Now()}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // the reader may have gone
}

// shortName leaves the last part of a resource's name.
func shortName(name string) string { return name[strings.LastIndexByte(name, '/')+1:] }

// cut leaves the first 120 characters.
func cut(text string) string {
	n := 0
	for i := range text {
		if n++; n > 120 {
			return text[:i] + "…"
		}
	}
	return text
}

// until says how far t is from now, "-" for the zero time.
func until(t, now time.Time) string {
	switch d := t.Sub(now).Round(time.Second); {
	case t.IsZero():
		return "-"
	case d > 0:
		return "in " + d.String()
	case d < 0:
		return "due for " + (-d).String()
	}
	return "now"
}

func hitRate(hits, misses uint64) string {
	if hits+misses == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(hits)/float64(hits+misses))
}

func humanBytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}
