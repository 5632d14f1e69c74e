package affinity

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// fileBytesMax bounds what is read of one file of the kernel. On a host with
// thousands of mounts their list gets long.
const fileBytesMax = 4 << 20

func quota() (cpus float64, limited bool) { return system{"/"}.quota() }

// system is where /proc and /sys are: below "/", or in a test somewhere else.
type system struct{ root string }

// quota takes the tightest limit of both versions of control groups: on a hybrid
// system the CPU controller is in one of them.
func (s system) quota() (cpus float64, limited bool) {
	groups := s.groups()
	for _, m := range s.mounts() {
		path, found := groups[m.version]
		if !found {
			continue
		}
		for _, dir := range m.directories(path) {
			if n, ok := s.limit(m.version, dir); ok && (!limited || n < cpus) {
				cpus, limited = n, true
			}
		}
	}
	return cpus, limited
}

// read gives "" for a file that is not there: no limit is to be found in it.
func (s system) read(name string) string {
	f, err := os.Open(filepath.Join(s.root, name))
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, fileBytesMax))
	return string(text)
}

// groups gives the group of this process in the hierarchy of version 1 that has
// the CPU controller, and in the one of version 2. The lines of the file are
// number:controllers:path, and version 2 has number 0 and no controllers.
func (s system) groups() map[int]string {
	groups := map[int]string{}
	for line := range strings.Lines(s.read("proc/self/cgroup")) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(fields) < 3:
		case fields[0] == "0" && fields[1] == "":
			groups[2] = fields[2]
		case slices.Contains(strings.Split(fields[1], ","), "cpu"):
			groups[1] = fields[2]
		}
	}
	return groups
}

// mount is where a hierarchy is to be seen. In a container root may be the group of
// the container, and nothing above it is visible.
type mount struct {
	version     int
	root, point string
}

// mounts reads lines of the form
// id parent device root point options [tags...] - type source superoptions.
func (s system) mounts() (found []mount) {
	for line := range strings.Lines(s.read("proc/self/mountinfo")) {
		left, right, _ := strings.Cut(line, " - ")
		place, kind := strings.Fields(left), strings.Fields(right)
		if len(place) < 5 || len(kind) < 3 {
			continue
		}
		m := mount{root: unescape.Replace(place[3]), point: unescape.Replace(place[4])}
		switch {
		case kind[0] == "cgroup2":
			m.version = 2
		case kind[0] == "cgroup" && slices.Contains(strings.Split(kind[2], ","), "cpu"):
			m.version = 1
		default:
			continue
		}
		found = append(found, m)
	}
	return found
}

// unescape undoes what the kernel does to names in the list of mounts.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// directories lists that of the group and all above it, as far as they are
// visible. A group outside what is mounted leaves the mount point itself.
func (m mount) directories(group string) []string {
	below, err := filepath.Rel(m.root, group)
	if err != nil || below == ".." || strings.HasPrefix(below, "../") {
		below = "."
	}
	dirs := []string{m.point}
	for dir := filepath.Join(m.point, below); len(dir) > len(m.point); dir = filepath.Dir(dir) {
		dirs = append(dirs, dir)
	}
	return dirs
}

func (s system) limit(version int, dir string) (cpus float64, limited bool) {
	if version == 2 {
		fields := strings.Fields(s.read(filepath.Join(dir, "cpu.max")))
		if len(fields) != 2 {
			return 0, false
		}
		return ratio(fields[0], fields[1])
	}
	return ratio(
		strings.TrimSpace(s.read(filepath.Join(dir, "cpu.cfs_quota_us"))),
		strings.TrimSpace(s.read(filepath.Join(dir, "cpu.cfs_period_us"))),
	)
}

// ratio is the share of CPU time. "max" and -1 say that there is no limit.
func ratio(quota, period string) (cpus float64, limited bool) {
	q, errQ := strconv.ParseInt(quota, 10, 64)
	p, errP := strconv.ParseInt(period, 10, 64)
	if errQ != nil || errP != nil || q <= 0 || p <= 0 {
		return 0, false
	}
	return float64(q) / float64(p), true
}
