//go:build e2e

package main

import (
	"bufio"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"hsi.home.arpa/internal/e2e"
	"hsi.home.arpa/server/contracttest"
)

// liveClient follows the stream as a program would that has nothing but the last id.
type liveClient struct {
	servers []*process
	random  *rand.Rand
	last    string
	events  map[string]bool // by id; false once it is removed
	faults  []string
	cuts    int
}

// follow goes on until the camera "end" is told, on whichever server answers, and hangs up now and then.
func (c *liveClient) follow(ctx context.Context) {
	for ctx.Err() == nil && !c.once(ctx) {
		c.cuts++
		e2e.Wait(ctx, 20*time.Millisecond)
	}
}

func (c *liveClient) once(ctx context.Context) (finished bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := c.servers[c.random.IntN(len(c.servers))]
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, server.BaseURL+"/api/events/stream", http.NoBody)
	if err != nil {
		c.faults = append(c.faults, err.Error())
		return true
	}
	request.Header.Set("Last-Event-ID", c.last)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return false
	}
	var block strings.Builder
	frames := c.random.IntN(100)
	for lines := bufio.NewScanner(response.Body); lines.Scan() && frames > 0; {
		block.WriteString(lines.Text() + "\n")
		if lines.Text() != "" {
			continue
		}
		if c.take(block.String()) {
			return true
		}
		block.Reset()
		frames--
	}
	return false
}

// take takes one block of the stream. It returns true at the end.
func (c *liveClient) take(block string) bool {
	if err := contracttest.CheckFrames("streamEvents", block); err != nil {
		c.faults = append(c.faults, err.Error())
	}
	frames, err := contracttest.ParseFrames(block)
	if err != nil {
		c.faults = append(c.faults, err.Error())
		return true
	}
	f := frames[0]
	if f.ID != "" {
		c.last = f.ID
	}
	_, id, _ := strings.Cut(f.Data, `"id":`)
	id = strings.TrimRight(strings.Split(strings.Split(id, ",")[0], "}")[0], " ")
	switch f.Kind {
	case "event":
		if c.events[id] {
			c.faults = append(c.faults, "twice: "+id)
		}
		c.events[id] = true
	case "events_removed":
		for removed := range strings.SplitSeq(strings.Trim(f.Data, `{"ids:[]}`), ",") {
			delete(c.events, removed)
		}
	case "resync":
		c.faults = append(c.faults, "resync "+f.Data)
	case "camera":
		return strings.Contains(f.Data, `"id":"end"`)
	}
	return false
}

// TestLive_EndsWithTheTable: two servers are killed in turn, Redis forgets everything and then is gone, and every client that follows
// with nothing but its last id ends with exactly the rows of the table.
func TestLive_EndsWithTheTable(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := newProcess(t, w.Settings()...)
	other.start()
	servers := []*process{w.process, other}
	require.NoError(t, w.Order(t.Context(), `INSERT INTO cameras (id, name, folder_path) VALUES ('front', 'Front', '/f')`))
	var begin string
	require.NoError(t, w.Database.Get(&begin, `SELECT epoch || '-0' FROM live_state`))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	clients := make([]*liveClient, 4)
	var following sync.WaitGroup
	for i := range clients {
		clients[i] = &liveClient{
			servers: servers, random: rand.New(rand.NewPCG(7, uint64(i))), last: begin, events: map[string]bool{},
		}
		following.Go(func() { clients[i].follow(ctx) })
	}
	written := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(written)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			statement := `INSERT INTO events (camera_id, started_at, summary) VALUES ('front', now(), 'one')`
			if n%7 == 6 {
				statement = `DELETE FROM events WHERE id = (SELECT min(id) FROM events)`
			}
			if err := w.Order(ctx, statement); err != nil {
				t.Error(err)
				return
			}
			e2e.Wait(ctx, 10*time.Millisecond)
		}
	}()
	for n := range inForm(4, 100) {
		server := servers[n%2]
		server.Kill()
		e2e.Wait(ctx, 300*time.Millisecond)
		server.start()
		server.eventually("ready again", func() bool { status, _ := server.get("/ready"); return status == http.StatusOK })
		if n == 1 {
			w.flushRedis()
		}
	}
	w.redis.Kill(t)
	e2e.Wait(ctx, time.Second)
	close(stop)
	<-written
	require.NoError(t, w.Order(t.Context(), `INSERT INTO cameras (id, name, folder_path) VALUES ('end', 'End', '/e')`))
	following.Wait()
	var ids []int64
	require.NoError(t, w.Database.Select(&ids, `SELECT id FROM events ORDER BY id`))
	want := make([]string, len(ids))
	for i, id := range ids {
		want[i] = fmt.Sprint(id)
	}
	slices.Sort(want)
	require.NotEmpty(t, want)
	for _, client := range clients {
		require.Empty(t, client.faults)
		require.Equal(t, want, slices.Sorted(maps.Keys(client.events)))
		require.Greater(t, client.cuts, 3)
		t.Logf("%d events after %d cuts", len(want), client.cuts)
	}
}
