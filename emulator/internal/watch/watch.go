package watch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

const interval = time.Second

// Options of a File; nil and the zero values mean what is stated.
type Options struct {
	Name   string       // in log lines, such as queue.yaml; the path
	Limit  int64        // longest file, in bytes; 1 MiB
	Logger *slog.Logger // nil discards
}

// A File is a watched file.
type File struct {
	path   string
	name   string
	limit  int64
	log    *slog.Logger
	accept func(text []byte) error

	seen fs.FileInfo // when it was read last; nil: it was gone
	told string      // the last trouble that was logged

	stop    chan struct{}
	closing sync.Once
	stopped sync.WaitGroup
}

// Open hands the text of a file to accept, now and whenever it has changed, until
// Close. accept is never called twice at a time; its errors are about the text.
func Open(path string, o *Options, accept func(text []byte) error) (*File, error) {
	if o == nil {
		o = &Options{}
	}
	f := &File{path: path, name: o.Name, limit: o.Limit, log: o.Logger, accept: accept, stop: make(chan struct{})}
	if f.name == "" {
		f.name = path
	}
	if f.limit == 0 {
		f.limit = 1 << 20
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	if err := f.read(); err != nil {
		return nil, err
	}
	f.stopped.Go(f.watch)
	return f, nil
}

// Close stops watching; accept isn't called any more when it returns. Closing
// again, or nil, does nothing.
func (f *File) Close() {
	if f == nil {
		return
	}
	f.closing.Do(func() { close(f.stop) })
	f.stopped.Wait()
}

func (f *File) watch() {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look reads the file if it has changed.
func (f *File) look() {
	switch changed, err := f.changed(); {
	case err != nil:
		f.tell(err)
	case changed:
		f.tell(f.read())
	}
}

// read hands the file to accept.
func (f *File) read() error {
	// A pipe without a writer would be waited for.
	r, err := os.OpenFile(f.path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	// What changes after this look is seen by the next one.
	info, err := r.Stat()
	if err != nil {
		return err
	}
	f.seen = info
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a file", f.path)
	}
	text, err := io.ReadAll(io.LimitReader(r, f.limit+1))
	if err != nil {
		return err
	}
	if int64(len(text)) > f.limit {
		return fmt.Errorf("%s: the file is longer than %d bytes", f.path, f.limit)
	}
	if err := f.accept(text); err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// changed tells whether the file is another one than was read last. One that is
// gone is an error.
func (f *File) changed() (bool, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.seen = nil
		return false, err
	case err != nil:
		return false, err
	case f.seen == nil:
		return true, nil
	}
	return !os.SameFile(info, f.seen) || info.Size() != f.seen.Size() || !info.ModTime().Equal(f.seen.ModTime()), nil
}

// tell logs trouble when it begins and when it ends.
func (f *File) tell(err error) {
	switch {
	case err == nil && f.told != "":
		f.told = ""
		f.log.Info(f.name+" is in order again", "path", f.path)
	case err != nil && err.Error() != f.told:
		f.told = err.Error()
		f.log.Error(f.name+" is not taken over; what it said before stays", "error", err)
	}
}
