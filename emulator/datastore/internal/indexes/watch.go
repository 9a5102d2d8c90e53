package indexes

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/latchwork/latchwork/emulator/internal/appyaml"
)

// interval is how often the file is looked at, and how long a new index may wait
// until it is written. One stat a second costs nothing, needs no library, and
// works on every file system.
const interval = time.Second

// file is the index.yaml of a Keeper. All work with the disk is done by one
// goroutine at a time, and none by queries.
type file struct {
	path    string
	content *File
	seen    fs.FileInfo // when it was read last; nil: there is no file
	broken  error       // why what was seen is not content
	told    string      // the last trouble that was logged

	mu      sync.Mutex // held while the disk works
	stop    chan struct{}
	stopped sync.WaitGroup
	closing sync.Once
	err     error
}

// openFile reads the file. optional says that it needn't exist.
func openFile(path string, optional bool) (*file, error) {
	f := &file{path: path, stop: make(chan struct{})}
	switch err := f.load(); {
	case optional && errors.Is(err, fs.ErrNotExist):
		if info, err := os.Stat(filepath.Dir(path)); err != nil {
			return nil, fmt.Errorf("%s can't be created: %w", path, err)
		} else if !info.IsDir() {
			return nil, fmt.Errorf("%s can't be created: %s is not a folder", path, filepath.Dir(path))
		}
		return f, f.forget()
	case err != nil:
		return nil, err
	}
	return f, nil
}

// load reads the file into content. When it returns an error, content is as it
// was.
func (f *file) load() error {
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
	text, err := io.ReadAll(io.LimitReader(r, appyaml.MaxFile+1))
	if err != nil {
		return err
	}
	content, err := Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.content = content
	return nil
}

// changed tells whether the file is another one than was read last.
func (f *file) changed() (bool, error) {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f.seen != nil, nil
	case err != nil:
		return false, err
	case f.seen == nil:
		return true, nil
	}
	return !os.SameFile(info, f.seen) || info.Size() != f.seen.Size() || !info.ModTime().Equal(f.seen.ModTime()), nil
}

// watch looks at the file until close.
func (f *file) watch(k *Keeper) {
	f.stopped.Go(func() {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-f.stop:
				return
			case <-tick.C:
				f.tell(k, f.sync(k))
			}
		}
	})
}

// close stops watching and syncs a last time.
func (f *file) close(k *Keeper) error {
	f.closing.Do(func() {
		close(f.stop)
		f.stopped.Wait()
		if len(k.unwritten()) > 0 {
			f.err = f.sync(k)
		}
	})
	return f.err
}

// tell logs trouble when it begins and when it ends.
func (f *file) tell(k *Keeper, err error) {
	switch {
	case err == nil && f.told != "":
		f.told = ""
		k.log.Info("index.yaml is in order again", "path", f.path)
	case err != nil && err.Error() != f.told:
		f.told = err.Error()
		k.log.Error("index.yaml can't be read or written; the indexes stay as they were", "err", err)
	}
}

// errChanged says that somebody else has written the file meanwhile.
var errChanged = errors.New("index.yaml is being changed by somebody else")

// sync takes over what was changed in the file, and writes what is new.
func (f *file) sync(k *Keeper) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range 3 {
		if err = f.add(k); !errors.Is(err, errChanged) {
			break
		}
	}
	return err
}

func (f *file) add(k *Keeper) error {
	if err := f.refresh(k); err != nil {
		return err
	}
	lacking := k.unwritten()
	if len(lacking) == 0 {
		return nil
	}
	if f.seen == nil { // it was deleted, or never there
		lacking = k.Set().All()
	}
	text, err := f.content.With(lacking)
	if err != nil {
		return fmt.Errorf("%s is not added to: %w", f.path, err)
	}
	return f.write(k, text)
}

// remove takes the entry of d out of the file.
func (f *file) remove(k *Keeper, d Definition) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.refresh(k); err != nil {
		return err
	}
	text, err := f.content.Without(d)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	if text == f.content.text {
		return nil
	}
	return f.write(k, text)
}

// refresh takes over what was changed in the file. While that can't be read, it
// says so.
func (f *file) refresh(k *Keeper) error {
	switch changed, err := f.changed(); {
	case err != nil:
		return err
	case changed:
		f.broken = f.reload(k)
	}
	return f.broken
}

func (f *file) reload(k *Keeper) error {
	switch err := f.load(); {
	case errors.Is(err, fs.ErrNotExist) && k.mode == Autogen:
		return f.forget()
	case err != nil:
		return err
	}
	k.adopt(f.content)
	return nil
}

// forget notes that there is no file. The indexes stay; when one comes in
// addition, all are written.
func (f *file) forget() (err error) {
	f.seen = nil
	f.content, err = Parse([]byte(header))
	return err
}

// write replaces the file at once: whoever reads it sees the old one or the new
// one. Nothing is written over what somebody else has written meanwhile.
func (f *file) write(k *Keeper, text string) (err error) {
	target, mode := f.path, fs.FileMode(0o644)
	if f.seen != nil {
		mode = f.seen.Mode().Perm()
		if target, err = filepath.EvalSymlinks(f.path); err != nil {
			return err
		}
	}
	temp, err := os.CreateTemp(filepath.Dir(target), "."+filepath.Base(target)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		_ = temp.Close()
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}()
	if _, err := temp.WriteString(text); err != nil {
		return err
	}
	if err := temp.Chmod(mode); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	switch changed, err := f.changed(); {
	case err != nil:
		return err
	case changed:
		return errChanged
	}
	if err := os.Rename(temp.Name(), target); err != nil {
		return err
	}
	if err := f.load(); err != nil {
		return err
	}
	k.adopt(f.content)
	return nil
}
