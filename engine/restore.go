package engine

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/zeebo/xxh3"

	"github.com/keyfold/keyfold/internal/fsys"
	"github.com/keyfold/keyfold/shard"
)

// Restore makes a store in dir of a backup that it reads from r, up to its end and no
// further. dir must be empty, or not be there; after an error it is as it was, but for the
// directory itself and the lock file. All is durable when Restore returns. Of options only Environment counts.
//
// The restored store keeps the identity of the one that was backed up, because every hash in
// its files depends on it, but lives a new life: positions that readers of changes have kept
// elsewhere are refused with ErrPosition, because what they have seen may not be in it.
//
// Errors: one that matches ErrBackup when the stream is damaged or cut, a *[VersionError]
// when it is of a newer Keyfold, those of ctx, r and the disk, and one that says that dir is
// not empty.
func Restore(ctx context.Context, r io.Reader, dir string, options Options) error {
	o, err := options.complete()
	if err != nil {
		return err
	}
	e := &Engine{dir: filepath.Clean(dir), options: o}
	if _, err := e.enter(); err != nil {
		return err
	}
	fs := e.options.Environment.FS
	entries, err := fs.ReadDir(e.dir)
	if err == nil {
		for _, entry := range entries {
			if entry.Name() != lockName {
				return errors.Join(fmt.Errorf("keyfold: restore: %s is not empty: there is %q", e.dir, entry.Name()), e.lock.Close())
			}
		}
		if err = e.restore(ctx, &backupReader{r: r}); err != nil && e.manifest != nil {
			e.takeBack()
		}
	}
	if err != nil {
		err = fmt.Errorf("keyfold: restore: %w", err)
	}
	return errors.Join(err, e.lock.Close())
}

// restore writes the files. The manifest, without which there is no store, comes last.
func (e *Engine) restore(ctx context.Context, b *backupReader) error {
	if err := e.restoreManifest(b); err != nil {
		return err
	}
	files := restoring{engine: e}
	defer files.close()
	for next := 0; ; {
		c, err := b.next()
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		if c.kind == chunkEnd {
			if next != e.manifest.Shards || c.shard != uint32(next) || !bytes.Equal(c.payload, binary.LittleEndian.AppendUint64(nil, b.count-1)) {
				return b.damaged("it ends with another number of shards or chunks than it has")
			}
			return e.manifest.write(e.options.Environment.FS, e.dir)
		}
		if c.shard != uint32(next) || next >= e.manifest.Shards {
			return b.damaged(fmt.Sprintf("a file of shard %d", c.shard))
		}
		cfg := e.shardConfig(e.manifest, next, -1)
		switch c.kind {
		case chunkPiece:
			err = files.write(cfg, c)
		case chunkCurrent:
			next++
			if err = files.close(); err == nil {
				err = shard.RestoreCurrent(cfg, c.payload)
			}
		default:
			err = b.damaged(fmt.Sprintf("a chunk of kind %d", c.kind))
		}
		if err != nil {
			return err
		}
	}
}

// takeBack removes what a restore has written that has failed: first the manifest, which may
// be there when only its entry could not be made durable. If that stays, so does its store.
func (e *Engine) takeBack() {
	fs := e.options.Environment.FS
	if err := fs.Remove(e.path(manifestName)); err != nil && !errors.Is(err, errNotExist) {
		return
	}
	_ = fs.Remove(e.path(manifestName + fsys.TemporarySuffix))
	_ = fs.SyncDir(e.dir)
	e.removeLayout(e.manifest.Layout)
}

// restoreManifest takes the first chunk.
func (e *Engine) restoreManifest(b *backupReader) error {
	c, err := b.next()
	if err != nil {
		return err
	}
	if c.kind != chunkManifest || len(c.payload) < 4 {
		return b.damaged("it does not begin with a manifest")
	}
	version := binary.LittleEndian.Uint32(c.payload)
	if version > manifestVersion {
		return &VersionError{
			Have: fmt.Sprint(version), Want: fmt.Sprint(manifestVersion),
			Diff: fmt.Sprintf("the backup has version %d of the manifest, this Keyfold knows up to %d; use the newer one that wrote it", version, manifestVersion),
		}
	}
	m, err := decodeManifest(c.payload[4:], version)
	if err != nil {
		return b.damaged(err.Error())
	}
	var life [8]byte
	if _, err := rand.Read(life[:]); err != nil {
		return err
	}
	m.Life = max(1, binary.LittleEndian.Uint64(life[:]))
	e.manifest = m
	return nil
}

// A restoring writes files piece by piece, one after the other.
type restoring struct {
	engine *Engine
	file   fsys.File
	path   string
}

func (f *restoring) write(cfg shard.Config, c *chunk) error {
	fs := f.engine.options.Environment.FS
	if path := shard.CutPath(cfg, c.file); path != f.path {
		if err := f.close(); err != nil {
			return err
		}
		if err := fsys.MkdirAll(fs, filepath.Dir(path), 0o700); err != nil {
			return err
		}
		file, err := fs.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		f.file, f.path = file, path
	}
	_, err := f.file.Write(c.payload)
	return err
}

// close makes the file that is open durable, and closes it.
func (f *restoring) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.file.Sync(), f.file.Close())
	f.file = nil
	if err != nil {
		return err
	}
	return f.engine.options.Environment.FS.SyncDir(filepath.Dir(f.path))
}

// A backupReader reads chunks and checks them.
type backupReader struct {
	r      io.Reader
	at     uint64 // of the chunk that was read last
	offset uint64 // behind it
	seed   uint64
	count  uint64
	chunk  chunk
}

func (b *backupReader) damaged(why string) error {
	return fmt.Errorf("%w at offset %d: %s", ErrBackup, b.at, why)
}

// next reads the next chunk, which is valid until it is called again.
func (b *backupReader) next() (*chunk, error) {
	b.at = b.offset
	var header [chunkHeaderBytes]byte
	if err := b.read(header[:]); err != nil {
		return nil, err
	}
	h := fsys.FieldsOf(header[:])
	magic, format, kind := h.U32(), h.U16(), uint8(0)
	format, kind = format&0xff, uint8(format>>8)
	reserved, offset, length := h.U16(), h.U64(), h.U32()
	c := chunk{kind: kind, shard: h.U32(), file: shard.CutFile{Generation: h.U64(), Segment: h.U64()}, payload: b.chunk.payload}
	hash := h.U64()
	switch {
	case magic != chunkMagic || xxh3.HashSeed(header[:chunkHeaderBytes-8], b.seed) != hash:
		return nil, b.damaged("no chunk begins here that follows the one before it")
	case format != chunkFormat:
		return nil, &VersionError{
			Have: fmt.Sprint(format), Want: fmt.Sprint(chunkFormat),
			Diff: fmt.Sprintf("the backup has format %d, this Keyfold knows %d; use the newer one that wrote it", format, chunkFormat),
		}
	case reserved != 0 || offset != b.at || length > chunkBytesMax:
		return nil, b.damaged("the header does not say what it should")
	}
	if cap(c.payload) < int(length) {
		c.payload = make([]byte, length)
	}
	c.payload = c.payload[:length]
	if err := b.read(c.payload); err != nil {
		return nil, err
	}
	var data [8]byte
	if err := b.read(data[:]); err != nil {
		return nil, err
	}
	b.seed = xxh3.HashSeed(c.payload, hash)
	if b.seed != binary.LittleEndian.Uint64(data[:]) {
		return nil, b.damaged("the payload does not match its hash")
	}
	b.count++
	b.chunk = c
	return &b.chunk, nil
}

func (b *backupReader) read(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.offset += uint64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w at offset %d: it ends there", ErrBackup, b.offset)
	}
	return err
}
