package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// A Peer says whose result it is, if not that of the engine alone: of a store that does
// the same job, measured in turn with others. The other figures are medians.
type Peer struct {
	// Name and About tell which store it was, and how it was set up.
	Name  string `json:"peer"`
	About string `json:"about"`
	// RatioToKeyfold is its rate over that of the engine in the same rounds; 0 if there
	// was none.
	RatioToKeyfold float64 `json:"ratio_to_keyfold"`
	// RatioToHand is its rate over that of the fastest of those made by hand.
	RatioToHand float64 `json:"ratio_to_hand"`
	// DiskBytes is the length of the files of a store that was killed.
	DiskBytes uint64 `json:"disk_bytes"`
	// Cores is CPU seconds per second of store and driver, ServerCores the part of a server.
	Cores       float64 `json:"cores"`
	ServerCores float64 `json:"server_cores"`
	RSSBytes    uint64  `json:"rss_bytes"`
	// WrittenPerEvent is bytes through calls that write, DevicePerEvent bytes charged to
	// the disk.
	WrittenPerEvent float64 `json:"written_bytes_per_event"`
	DevicePerEvent  float64 `json:"device_bytes_per_event"`
	// PerKey says that each state was compared, and not only the sum of all counts.
	PerKey bool `json:"verified_per_key"`
}

// peerFile is what loadgen peers stores.
type peerFile struct {
	Schema int `json:"schema"`
	Rows   []struct {
		Result
		Peer
	} `json:"rows"`
}

// ReadFiles reads results: what WriteFile stored, and what loadgen peers did, which has
// many results in a file.
func ReadFiles(names []string) (list []*Result, err error) {
	for _, name := range names {
		text, err := readText(name)
		if err != nil {
			return nil, err
		}
		if some, ok, err := readPeers(name, text); err != nil {
			return nil, err
		} else if ok {
			list = append(list, some...)
			continue
		}
		r, err := parse(name, text)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// readPeers reads the rows of a file, if it has rows.
func readPeers(name string, text []byte) (list []*Result, ok bool, err error) {
	var f peerFile
	if json.Unmarshal(text, &f) != nil || f.Rows == nil {
		return nil, false, nil
	}
	if f.Schema != Schema {
		return nil, false, otherSchema(name)
	}
	for i := range f.Rows {
		r := &f.Rows[i].Result
		if r.Schema != Schema {
			return nil, false, otherSchema(name)
		}
		r.Peer = &f.Rows[i].Peer
		list = append(list, r)
	}
	return list, true, nil
}

// resultBytesMax bounds a file that is read as a result.
const resultBytesMax = 16 << 20

func readText(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if info.Size() > resultBytesMax {
		return nil, fmt.Errorf("report: %s is too large for a result", name)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return text, nil
}

func parse(name string, text []byte) (*Result, error) {
	r := new(Result)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("report: %s is not a result: %w", name, err)
	}
	if r.Schema != Schema {
		return nil, otherSchema(name)
	}
	return r, nil
}

func otherSchema(name string) error {
	return errors.New("report: " + name + " has another schema: it is not a result of this program, or of another version")
}
