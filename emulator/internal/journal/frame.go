package journal

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A file is a header and frames. A frame is a word with its kind and the length
// of its payload, the CRC32C of word and payload, and the payload; integers are
// little-endian. The kinds are records, sync marks, and the end of a checkpoint.
const (
	magic     = "latchwork journal v1\n"
	idSize    = 8
	headSize  = len(magic) + idSize + 4 // magic, random id, CRC32C of both
	frameHead = 8
	markSize  = idSize + 8 // the log's id, the offset up to which it is synced
	endSize   = 8          // the number of records

	kindRecord = 0 << 30
	kindMark   = 1 << 30
	kindEnd    = 2 << 30
	kindMask   = 3 << 30
)

// MaxRecord bounds one record, in bytes.
const MaxRecord = 64 << 20

// ErrDamaged is wrapped by the error of Open for a folder whose files have
// changed after they were on stable storage.
var ErrDamaged = errors.New("journal: damaged")

// errTorn ends a file that holds no further valid frame.
var errTorn = errors.New("no valid frame")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileID tells the marks of one log from bytes that look alike in a record.
type fileID [idSize]byte

func newFileID() (id fileID) {
	rand.Read(id[:]) // never fails
	return id
}

func appendHeader(b []byte, id fileID) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, id[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func parseHeader(b []byte) (id fileID, err error) {
	if len(b) < headSize {
		return id, errTorn
	}
	body := b[:headSize-4]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[headSize-4:]) {
		return id, errTorn
	}
	if string(body[:len(magic)]) != magic {
		return id, fmt.Errorf("journal: format %q is not of this version, which writes %q", body[:len(magic)], magic)
	}
	return fileID(body[len(magic):]), nil
}

func appendFrame(b []byte, kind uint32, payload []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, kind|uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(b[start:], castagnoli), castagnoli, payload)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, payload...)
}

func appendMark(b []byte, id fileID, synced int64) []byte {
	payload := binary.LittleEndian.AppendUint64(id[:len(id):len(id)], uint64(synced))
	return appendFrame(b, kindMark, payload)
}

// frames reads the frames of one file.
type frames struct {
	r      *bufio.Reader
	id     fileID
	offset int64 // behind the last valid frame
	size   int64 // of the file
	buf    []byte
}

// newFrames reads the header; errTorn means that there is no valid one.
func newFrames(r io.Reader, size int64) (*frames, error) {
	f := &frames{r: bufio.NewReaderSize(r, 256<<10), size: size}
	head := make([]byte, headSize)
	if _, err := io.ReadFull(f.r, head); err == io.EOF || err == io.ErrUnexpectedEOF {
		return f, errTorn
	} else if err != nil {
		return f, err
	}
	id, err := parseHeader(head)
	if err != nil {
		return f, err
	}
	f.id, f.offset = id, int64(headSize)
	return f, nil
}

// next returns the next frame, whose payload is valid until the next call. It
// returns io.EOF at the end of the file and errTorn where no valid frame is.
func (f *frames) next() (kind uint32, payload []byte, err error) {
	left := f.size - f.offset
	if left == 0 {
		return 0, nil, io.EOF
	}
	if left < frameHead {
		return 0, nil, errTorn
	}
	var head [frameHead]byte
	if _, err := io.ReadFull(f.r, head[:]); err != nil {
		return 0, nil, err
	}
	word := binary.LittleEndian.Uint32(head[:])
	kind = word & kindMask
	n := int64(word &^ kindMask)
	if n > MaxRecord || n > left-frameHead {
		return 0, nil, errTorn
	}
	if int64(cap(f.buf)) < n {
		f.buf = make([]byte, max(n, 4<<10))
	}
	payload = f.buf[:n]
	if _, err := io.ReadFull(f.r, payload); err != nil {
		return 0, nil, err
	}
	sum := crc32.Update(crc32.Checksum(head[:4], castagnoli), castagnoli, payload)
	if sum != binary.LittleEndian.Uint32(head[4:]) || !kindValid(kind, payload) {
		return 0, nil, errTorn
	}
	f.offset += frameHead + n
	return kind, payload, nil
}

func kindValid(kind uint32, payload []byte) bool {
	switch kind {
	case kindRecord:
		return true
	case kindMark:
		return len(payload) == markSize
	case kindEnd:
		return len(payload) == endSize
	}
	return false
}

// markFits reports whether a mark at the offset start belongs there.
func markFits(payload []byte, id fileID, start int64) bool {
	return fileID(payload[:idSize]) == id && binary.LittleEndian.Uint64(payload[idSize:]) <= uint64(start)
}

// findMark looks in what follows from for a sync mark which says that the log
// was synced beyond that offset. It needs no valid frames on the way; without a
// known id (the header is gone) any mark counts.
func findMark(r io.ReaderAt, size, from int64, id *fileID) (synced int64, found bool, err error) {
	const chunk = 1 << 20
	word := binary.LittleEndian.AppendUint32(nil, kindMark|markSize)
	buf := make([]byte, chunk+frameHead+markSize)
	for start := from; start < size; start += chunk {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-start)], start)
		if err != nil && err != io.EOF {
			return 0, false, err
		}
		for b := buf[:n]; ; b = b[1:] {
			i := bytes.Index(b, word)
			if i < 0 || len(b)-i < frameHead+markSize {
				break
			}
			b = b[i:]
			payload := b[frameHead : frameHead+markSize]
			sum := crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, payload)
			at := int64(binary.LittleEndian.Uint64(payload[idSize:]))
			if sum == binary.LittleEndian.Uint32(b[4:]) && at > from && (id == nil || fileID(payload[:idSize]) == *id) {
				return at, true, nil
			}
		}
	}
	return 0, false, nil
}
