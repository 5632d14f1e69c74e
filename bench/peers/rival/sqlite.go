package rival

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

func sqlitePeer() *Rival {
	return &Rival{
		Name: "sqlite", About: "SQLite (modernc), an upsert a key; WAL, cache 512 MB, exclusive, WITHOUT ROWID, synchronous OFF, NORMAL or FULL; 1 lane",
		Lanes: always(1), Open: openSQLite,
	}
}

const sqliteUpsert = `INSERT INTO states (key, count, sum, last, max) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET count = count + excluded.count, sum = sum + excluded.sum,
last = excluded.last, max = max(max, excluded.max)`

func openSQLite(c Config) (Store, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	level := map[Sync]string{None: "OFF", Second: "NORMAL", Always: "FULL"}[c.Sync]
	file := filepath.Join(c.Dir, "states.db")
	db, err := sql.Open("sqlite", file+"?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)&_pragma=synchronous("+level+
		")&_pragma=cache_size(-524288)&_pragma=wal_autocheckpoint(10000)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("CREATE TABLE IF NOT EXISTS states (key BLOB PRIMARY KEY, count INT, sum INT, last INT, max INT) WITHOUT ROWID"); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	upsert, err := db.Prepare(sqliteUpsert)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return newKVStore(&sqliteDB{db: db, upsert: upsert, wal: file + "-wal"}, 1, c, false), nil
}

type sqliteDB struct {
	db     *sql.DB
	upsert *sql.Stmt
	wal    string // the log's file
}

func (s *sqliteDB) update(_ int, deltas []job.Delta) error {
	tx, err := s.db.Begin()
	if err != nil {
		return err
	}
	upsert := tx.Stmt(s.upsert)
	for i := range deltas {
		d := &deltas[i]
		if _, err := upsert.Exec(d.Key[:], d.State.Count, d.State.Sum, d.State.Last, d.State.Max); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func (s *sqliteDB) each(fn func(key []byte, s limit.State) error) (err error) {
	rows, err := s.db.Query("SELECT key, count, sum, last, max FROM states")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key []byte
		var st limit.State
		if err := rows.Scan(&key, &st.Count, &st.Sum, &st.Last, &st.Max); err != nil {
			return err
		}
		if err := fn(key, st); err != nil {
			return err
		}
	}
	return rows.Err()
}

// sync syncs SQLite's log past SQLite, which at NORMAL does so only when it moves the
// log into the database.
func (s *sqliteDB) sync() error {
	f, err := os.OpenFile(s.wal, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func (s *sqliteDB) close() error { return errors.Join(s.upsert.Close(), s.db.Close()) }
