package rival

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/keyfold/keyfold/bench/limit"
	"github.com/keyfold/keyfold/bench/peers/job"
)

const redisAbout = "; append-only file, appendfsync no, everysec or always, no RDB; unix socket, 4 connections, pipelined; 4 lanes"

func redisCount() *Rival {
	return redisRival("redis-hincrby", "Redis, one HINCRBY an event: it counts, and keeps no sum, last or max"+redisAbout, job.Count, dialect{
		command: func(r *respConn, key *limit.Key, _ *limit.Event) { r.command("HINCRBY", string(key[:]), "c", "1") },
		read:    func(r *respConn, key *limit.Key) { r.command("HGET", string(key[:]), "c") },
		decode: func(b []byte) (s limit.State, err error) {
			s.Count, err = strconv.ParseInt(string(b), 10, 64)
			return s, err
		},
	})
}

// redisFold reads, changes and writes a state in the server.
const redisFold = `local v, c, s, m = tonumber(ARGV[1]), 0, 0, 0
local old, l = redis.call('GET', KEYS[1]), 0
if old then c, s, l, m = struct.unpack('<i8i8i8i8', old) end
redis.call('SET', KEYS[1], struct.pack('<i8i8i8i8', c + 1, s + v, v, math.max(m, v)))
return 1`

func redisScript() *Rival {
	var sha string
	return redisRival("redis-lua", "Redis, the whole read-modify-write in a Lua script"+redisAbout, job.All, dialect{
		begin: func(r *respConn) (err error) {
			sha, err = r.ask("SCRIPT", "LOAD", redisFold)
			return err
		},
		command: func(r *respConn, key *limit.Key, event *limit.Event) {
			r.command("EVALSHA", sha, "1", string(key[:]), strconv.FormatInt(event.Value, 10))
		},
		read:   func(r *respConn, key *limit.Key) { r.command("GET", string(key[:])) },
		decode: job.DecodeState[[]byte],
	})
}

// A dialect is the commands of one way to use Redis.
type dialect struct {
	begin   func(*respConn) error // once, or nil
	command func(r *respConn, key *limit.Key, event *limit.Event)
	read    func(r *respConn, key *limit.Key)
	decode  func([]byte) (limit.State, error)
}

const redisServer = "redis-server"

func redisRival(name, about string, keeps job.Fields, d dialect) *Rival {
	return &Rival{
		Name: name, About: about, Keeps: keeps, Lanes: always(redisConns),
		Missing: func() string {
			if _, err := exec.LookPath(redisServer); err != nil {
				return "there is no " + redisServer + " on the PATH; install it (Debian: apt-get install redis-server), or leave it out"
			}
			return ""
		},
		Open: func(c Config) (Store, error) { return openRedis(c, d) },
	}
}

const (
	redisConns     = 4
	socketBytesMax = 100
	redisPatient   = 60 * time.Second // for a start that loads its file, and for a stop
)

type redisStore struct {
	dialect dialect
	keys    uint64
	server  *exec.Cmd
	socket  string // its path
	conns   []*respConn
	crowd   *crowd
}

func openRedis(c Config, d dialect) (Store, error) {
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, err
	}
	s := &redisStore{dialect: d, keys: c.Keys, socket: filepath.Join(c.Dir, "s")}
	if len(s.socket) > socketBytesMax {
		return nil, fmt.Errorf("rival: the path of Redis' socket, %s, is longer than the system allows; choose a shorter directory", s.socket)
	}
	fsync := map[Sync]string{None: "no", Second: "everysec", Always: "always"}[c.Sync]
	s.server = exec.Command(redisServer, "--port", "0", "--unixsocket", s.socket, "--dir", c.Dir, "--save", "",
		"--appendonly", "yes", "--appendfsync", fsync, "--auto-aof-rewrite-percentage", "0", "--daemonize", "no")
	dieTogether(s.server)
	if err := s.server.Start(); err != nil {
		return nil, err
	}
	if err := s.connect(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// connect waits for the server, and opens connections for lanes and callers.
func (s *redisStore) connect() error {
	var first *respConn
	for end := time.Now().Add(redisPatient); first == nil; {
		conn, err := net.Dial("unix", s.socket)
		if err == nil {
			first = newRespConn(conn)
			if _, err = first.ask("PING"); err != nil { // it is loading
				first = nil
				err = errors.Join(err, conn.Close())
			}
		}
		if err != nil && time.Now().After(end) {
			return fmt.Errorf("rival: redis does not answer: %w", err)
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond)
		}
	}
	s.conns = append(s.conns, first)
	if s.dialect.begin != nil {
		if err := s.dialect.begin(first); err != nil {
			return err
		}
	}
	return s.openCrowd()
}

func (s *redisStore) openCrowd() error {
	doors := make([]Lane, redisConns)
	for i := range doors {
		var err error
		if doors[i], err = s.Lane(i); err != nil {
			return err
		}
	}
	s.crowd = newCrowd(doors)
	return nil
}

// Lane is a connection.
func (s *redisStore) Lane(int) (Lane, error) {
	conn, err := net.Dial("unix", s.socket)
	if err != nil {
		return nil, err
	}
	r := newRespConn(conn)
	s.conns = append(s.conns, r)
	return &redisLane{store: s, conn: r}, nil
}

// Do sends the event in a pipeline with those of other callers.
func (s *redisStore) Do(lane int, key *limit.Key, event *limit.Event) error {
	return s.crowd.do(lane, key, event)
}

// Each asks for every key.
func (s *redisStore) Each(fn func(key []byte, s limit.State) error) error {
	const chunk = 1000
	r := s.conns[0]
	for from := uint64(0); from < s.keys; from += chunk {
		end := min(from+chunk, s.keys)
		for number := from; number < end; number++ {
			key := job.KeyOf(number)
			s.dialect.read(r, &key)
		}
		if err := r.send(); err != nil {
			return err
		}
		for number := from; number < end; number++ {
			text, found, err := r.reply()
			if err != nil {
				return err
			}
			if !found {
				continue
			}
			state, err := s.dialect.decode(text)
			if err != nil {
				return err
			}
			key := job.KeyOf(number)
			if err := fn(key[:], state); err != nil {
				return err
			}
		}
	}
	return nil
}

// Processes is the server.
func (s *redisStore) Processes() []int { return []int{s.server.Process.Pid} }

// Close ends the server, by force if it does not end by itself.
func (s *redisStore) Close() error {
	if s.crowd != nil {
		s.crowd.stop()
	}
	if len(s.conns) > 0 {
		s.conns[0].command("SHUTDOWN")
		_ = s.conns[0].send() // whether it ends is seen below
	} else {
		_ = s.server.Process.Kill() // it never answered
	}
	kill := time.AfterFunc(redisPatient, func() { _ = s.server.Process.Kill() })
	err := s.server.Wait()
	if len(s.conns) == 0 {
		err = nil
	}
	if !kill.Stop() {
		err = errors.Join(errors.New("rival: redis had to be killed"), err)
	}
	for _, r := range s.conns {
		_ = r.conn.Close() // the server has closed it
	}
	return err
}

type redisLane struct {
	store   *redisStore
	conn    *respConn
	settled uint64
}

// Apply sends a command for each event, then reads all replies.
func (l *redisLane) Apply(batch limit.Stream) error {
	for i := range batch.Keys {
		l.store.dialect.command(l.conn, &batch.Keys[i], &batch.Events[i])
	}
	if err := l.conn.send(); err != nil {
		return err
	}
	for range batch.Keys {
		if _, _, err := l.conn.reply(); err != nil {
			return err
		}
	}
	l.settled += uint64(len(batch.Keys))
	return nil
}

// Settled is every event.
func (l *redisLane) Settled() uint64 { return l.settled }

// Flush has nothing to wait for.
func (l *redisLane) Flush() error { return nil }
