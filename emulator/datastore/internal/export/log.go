package export

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// A log is a sequence of blocks. Each holds chunks: a checksum, a length, a
// type, and data. A record is one chunk or, where it meets the end of a block,
// several; the last bytes of a block, too few for a header, are zeros.
const (
	blockSize  = 32 << 10
	headerSize = 4 + 2 + 1

	chunkFull   = 1
	chunkFirst  = 2
	chunkMiddle = 3
	chunkLast   = 4
)

// MaxRecord bounds a record. An entity of 1 MiB takes more here, for each
// element of an array repeats the name of its property.
const MaxRecord = 64 << 20

// checksum is LevelDB's: CRC-32C over the type and the data, masked so that a
// checksum of checksums is of use.
func checksum(kind byte, data []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	sum := crc32.Update(crc32.Checksum([]byte{kind}, table), table, data)
	return (sum>>15 | sum<<17) + 0xa282ead8
}

// logWriter writes records. Its errors are those of the writer below.
type logWriter struct {
	w     *bufio.Writer
	bytes int64 // written so far
}

func newLogWriter(w io.Writer) *logWriter {
	return &logWriter{w: bufio.NewWriterSize(w, blockSize)}
}

var padding = [headerSize]byte{}

func (l *logWriter) write(record []byte) error {
	if len(record) > MaxRecord {
		return fmt.Errorf("a record of %d bytes: at most %d can be read back", len(record), MaxRecord)
	}
	for first := true; ; first = false {
		left := blockSize - int(l.bytes%blockSize)
		if left < headerSize {
			l.bytes += int64(left)
			if _, err := l.w.Write(padding[:left]); err != nil {
				return err
			}
			left = blockSize
		}
		chunk := record[:min(len(record), left-headerSize)]
		record = record[len(chunk):]
		kind := byte(chunkMiddle)
		switch last := len(record) == 0; {
		case first && last:
			kind = chunkFull
		case first:
			kind = chunkFirst
		case last:
			kind = chunkLast
		}
		header := binary.LittleEndian.AppendUint32(make([]byte, 0, headerSize), checksum(kind, chunk))
		header = binary.LittleEndian.AppendUint16(header, uint16(len(chunk)))
		l.bytes += int64(headerSize + len(chunk))
		if _, err := l.w.Write(append(header, kind)); err != nil {
			return err
		}
		if _, err := l.w.Write(chunk); err != nil {
			return err
		}
		if kind == chunkFull || kind == chunkLast {
			return nil
		}
	}
}

func (l *logWriter) flush() error { return l.w.Flush() }

// A DamageError says that a file of an export can't be read, and from where on.
type DamageError struct {
	File   string // relative to the export
	Offset int64  // of the record
	Reason error
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("%s is damaged at offset %d: %v", e.File, e.Offset, e.Reason)
}

func (e *DamageError) Unwrap() error { return e.Reason }

// logReader reads records.
type logReader struct {
	r      io.Reader
	block  []byte // what is left of the block
	buf    []byte
	record []byte
	offset int64 // of the next chunk
	start  int64 // of the record that was read last, or failed
}

func newLogReader(r io.Reader) *logReader {
	return &logReader{r: r, buf: make([]byte, blockSize)}
}

var errEndsInRecord = errors.New("the file ends within a record")

// next returns the next record, valid until the call after it, and io.EOF after
// the last one.
func (l *logReader) next() ([]byte, error) {
	l.record = l.record[:0]
	for first := true; ; first = false {
		kind, data, err := l.chunk()
		if first {
			l.start = l.offset
			if err == nil {
				l.start -= int64(headerSize + len(data))
			}
		}
		if errors.Is(err, io.EOF) && !first {
			return nil, errEndsInRecord
		}
		if err != nil {
			return nil, err
		}
		if begins := kind == chunkFull || kind == chunkFirst; begins != first {
			return nil, fmt.Errorf("a chunk of type %d where a record %s", kind, map[bool]string{true: "begins", false: "goes on"}[first])
		}
		if first && kind == chunkFull {
			return data, nil
		}
		if len(l.record)+len(data) > MaxRecord {
			return nil, fmt.Errorf("a record over %d bytes", MaxRecord)
		}
		if l.record = append(l.record, data...); kind == chunkLast {
			return l.record, nil
		}
	}
}

// chunk returns the next chunk, valid until the next call.
func (l *logReader) chunk() (kind byte, data []byte, err error) {
	for {
		if len(l.block) < headerSize {
			if len(l.block) > 0 && len(l.buf) < blockSize {
				return 0, nil, errEndsInRecord
			}
			l.offset += int64(len(l.block))
			if err := l.fill(); err != nil {
				return 0, nil, err
			}
			continue
		}
		sum, length, kind := binary.LittleEndian.Uint32(l.block), int(binary.LittleEndian.Uint16(l.block[4:])), l.block[6]
		if sum == 0 && length == 0 && kind == 0 { // room that was never written: to the end of the block
			l.offset += int64(len(l.block))
			l.block = nil
			continue
		}
		if kind < chunkFull || kind > chunkLast {
			return 0, nil, fmt.Errorf("a chunk of unknown type %d", kind)
		}
		if headerSize+length > len(l.block) {
			if len(l.buf) < blockSize {
				return 0, nil, errEndsInRecord
			}
			return 0, nil, fmt.Errorf("a chunk of %d bytes where its block has %d left", length, len(l.block)-headerSize)
		}
		data := l.block[headerSize : headerSize+length]
		if got := checksum(kind, data); got != sum {
			return 0, nil, fmt.Errorf("checksum %08x where the file says %08x", got, sum)
		}
		l.block = l.block[headerSize+length:]
		l.offset += int64(headerSize + length)
		return kind, data, nil
	}
}

// fill reads the next block; the last one may be short.
func (l *logReader) fill() error {
	if len(l.buf) < blockSize {
		return io.EOF
	}
	n, err := io.ReadFull(l.r, l.buf)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	l.buf = l.buf[:n]
	l.block = l.buf
	return nil
}
