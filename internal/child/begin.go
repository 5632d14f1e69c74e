package child

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Begin is the first thing that a child does: it reads its orders, which are JSON in a
// file, into the value that orders points to. The context that it returns ends with ctx, and
// when parent does: that is the pipe of [Start], which a parent that has died leaves closed.
// It must be cancelled, also after an error.
func Begin(ctx context.Context, file string, parent io.Reader, orders any) (context.Context, context.CancelFunc, error) {
	ctx, orphaned := context.WithCancel(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, parent)
		orphaned()
	}()
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, orders)
	}
	if err != nil {
		err = fmt.Errorf("child: orders: %w", err)
	}
	return ctx, orphaned, err
}
