# Short names for the commands in CONTRIBUTING.md; go alone does as well.
.PHONY: test race bench check

test:
	go test ./...

race:
	go test -race ./...

bench:
	go test -run '^$$' -bench . -benchmem ./...

check:
	.ci/run
