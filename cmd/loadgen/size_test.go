package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Goal: an estimate says what it was made of, and can be made again of stored rates.
func TestSizeMeasuresMultipliesAndStores(t *testing.T) {
	dir, rates := t.TempDir(), filepath.Join(t.TempDir(), "rates.json")
	args := []string{"size", "--keys=100M", "--state=32", "--events-per-s=200k"}
	r := loadgen(t, "", append(args, "--sample=10k", "--dir", dir, "--json", rates)...)
	if r.code != exitFine {
		t.Fatalf("%+v", r)
	}
	for _, text := range []string{"100,000,000 keys of 16 bytes", "memory", "GiB", "recovery", "200,000 a second", "measured on", "10,000 keys"} {
		if !strings.Contains(r.out, text) {
			t.Errorf("no %q in\n%s", text, r.out)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("%v is left, %v", left, err)
	}
	if again := loadgen(t, "", append(args, "--rates", rates)...); again.out != r.out || again.code != exitFine {
		t.Errorf("%+v is not\n%s", again, r.out)
	}
	wrong{[]string{"size", "--keys=1M", "--state=64", "--rates", rates}, exitUsage, "other sizes"}.check(t, "other shape")
	wrong{append(args, "--shards=16", "--rates", rates), exitUsage, "measured with "}.check(t, "other shards")
}

func TestWrongSizesAreToldInOneSentence(t *testing.T) {
	for name, c := range map[string]wrong{
		"no keys":     {[]string{"size", "--state=8"}, exitUsage, "--keys"},
		"no state":    {[]string{"size", "--keys=8"}, exitUsage, "--state"},
		"zero keys":   {[]string{"size", "--keys=0", "--state=8"}, exitUsage, "--keys"},
		"large state": {[]string{"size", "--keys=1M", "--state=1MiB"}, exitUsage, "4096"},
		"short key":   {[]string{"size", "--keys=1M", "--state=8", "--key=2"}, exitUsage, "key of 8"},
		"few":         {[]string{"size", "--keys=1M", "--state=8", "--sample=10"}, exitUsage, "--sample"},
		"shards":      {[]string{"size", "--keys=1M", "--state=8", "--shards=-1"}, exitUsage, "--shards"},
		"not a size":  {[]string{"size", "--keys=1M", "--state=big"}, exitUsage, "big"},
		"no rates":    {[]string{"size", "--keys=1M", "--state=8", "--rates", writeFile(t, "r.json", `{"schema":1}`)}, exitUsage, "not a result of loadgen size"},
	} {
		c.check(t, name)
	}
}
