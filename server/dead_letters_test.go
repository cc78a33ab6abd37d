package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/store"
)

// TestDeadLetters_Pages: each page says where the next one begins, and the last one that there is
// none.
func TestDeadLetters_Pages(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	const stored = 7
	var asked store.DeadLetterSelection
	f.letters = func(_ context.Context, selection store.DeadLetterSelection, afterID int64, limit int) ([]store.DeadLetter, error) {
		asked = selection
		var letters []store.DeadLetter
		for id := afterID + 1; id <= stored && len(letters) < limit; id++ {
			letters = append(letters, store.DeadLetter{ImageID: id, CameraID: "a", CameraFolder: "/c/a", FilePath: fmt.Sprintf("/c/a/%d.jpg", id), Cause: "x"})
		}
		return letters, nil
	}
	f.total = func(context.Context, store.DeadLetterSelection) (int64, error) { return stored, nil }
	s := start(t, f)
	read := func(query string) (ids []int64, next *int64) {
		var page struct {
			DeadLetters []struct {
				ID   int64
				File string
			} `json:"dead_letters"`
			Total int64
			Limit int
			Next  *int64 `json:"next_after_id"`
		}
		require.NoError(t, json.Unmarshal(s.get(t, "/api/system/dead-letters"+query).want(t, 200).body, &page))
		require.EqualValues(t, stored, page.Total)
		for _, letter := range page.DeadLetters {
			require.Equal(t, fmt.Sprintf("%d.jpg", letter.ID), letter.File)
			ids = append(ids, letter.ID)
		}
		return ids, page.Next
	}
	ids, next := read("?limit=3")
	require.Equal(t, []int64{1, 2, 3}, ids)
	require.EqualValues(t, 3, *next)
	ids, next = read("?limit=3&after_id=3")
	require.Equal(t, []int64{4, 5, 6}, ids)
	require.EqualValues(t, 6, *next)
	ids, next = read("?limit=3&after_id=6")
	require.Equal(t, []int64{7}, ids)
	require.Nil(t, next)
	ids, next = read("?limit=7") // exactly all
	require.Len(t, ids, 7)
	require.Nil(t, next)
	ids, next = read("?after_id=9007199254740991")
	require.Empty(t, ids)
	require.Nil(t, next)
	require.Equal(t, store.DeadLetterSelection{}, asked)
	odd := "50 % of it & more: \"Ä\" \U0001F4F7 = 1+1"
	read("?cause=" + url.QueryEscape(odd))
	require.Equal(t, store.DeadLetterSelection{Cause: odd}, asked)

	for query, loc := range map[string]string{
		"limit=0": "limit", "limit=1001": "limit", "limit=": "limit", "after_id=-1": "after_id", "after_id=9007199254740992": "after_id",
		"after_id=1.5": "after_id", "cause=": "cause", "cause=%ff": "cause", "cause=a&cause=b": "cause", "id=4": "id",
		"cause=" + strings.Repeat("x", 2001): "cause",
	} {
		got := s.get(t, "/api/system/dead-letters?"+query).want(t, 422)
		require.Contains(t, string(got.body), fmt.Sprintf(`"loc":["query",%q]`, loc), query)
	}
	s.get(t, "/api/system/dead-letters?cause="+url.QueryEscape(strings.Repeat("中", 2000))).want(t, 200)
}

// TestDeadLetters_SayWhatIsKnown: what is unknown is null, and where the camera folder lies stays
// inside.
func TestDeadLetters_SayWhatIsKnown(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	f.letters = func(context.Context, store.DeadLetterSelection, int64, int) ([]store.DeadLetter, error) {
		return []store.DeadLetter{
			{ImageID: 1, CameraID: "a", CameraFolder: "/srv/secret/a", FilePath: "/srv/secret/a/x/y.jpg", Cause: "c"},
			{ImageID: 2, CameraID: "a", CameraFolder: "/srv/secret/a", FilePath: "/srv/elsewhere/y.jpg", Cause: "c"},
			{ImageID: 3, CameraID: "a", CameraFolder: "", FilePath: "/srv/elsewhere/y.jpg", Cause: "c"},
			{ImageID: 4, CameraID: "a", CameraFolder: "/srv/secret/a", FilePath: "/srv/secret/ab/y.jpg", Cause: "c"},
		}, nil
	}
	got := start(t, f).get(t, "/api/system/dead-letters").want(t, 200)
	require.Contains(t, string(got.body), `"file":"x/y.jpg"`)
	require.Contains(t, string(got.body), `"first_failed_at":null,"id":1,"kind":"image","last_failed_at":null`)
	require.Contains(t, string(got.body), `"batch_id":null`)
	require.NotContains(t, string(got.body), "secret")
	require.NotContains(t, string(got.body), "elsewhere")
	require.Equal(t, 3, strings.Count(string(got.body), `"file":"y.jpg"`))
}

// TestRequeue_MayTakeItsTime: many rows are more than the usual deadline allows.
func TestRequeue_MayTakeItsTime(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var left time.Duration
	f.requeue = func(ctx context.Context, _ store.DeadLetterSelection, _ store.Actor) (int64, error) {
		deadline, bounded := ctx.Deadline()
		assert.True(t, bounded)
		left = time.Until(deadline)
		return 0, nil
	}
	start(t, f, func(o *Options) { o.RequestTimeout = time.Millisecond }).ask(t, "requeueDeadLetters").want(t, 200)
	require.Greater(t, left, RequeueTimeout/2)
	require.Less(t, RequeueTimeout, WriteTimeout)
}

// TestRequeue: exactly one selector, and it reaches the store as it was meant, with who asked.
func TestRequeue(t *testing.T) {
	t.Parallel()
	f := newFakes(t)
	var chosen []store.DeadLetterSelection
	var actor store.Actor
	f.requeue = func(_ context.Context, selection store.DeadLetterSelection, by store.Actor) (int64, error) {
		chosen = append(chosen, selection)
		actor = by
		return 0, nil
	}
	s := start(t, f)
	requeue := func(body string, change ...func(*http.Request)) answer {
		return s.send(t, http.MethodPost, "/api/system/dead-letters/requeue", body, change...)
	}
	got := requeue(`{"ids":[3,1,3]}`, header("User-Agent", "probe/1"), header("X-Request-ID", "r.1")).want(t, 200)
	require.JSONEq(t, `{"requeued":0}`, string(got.body))
	require.Equal(t, store.Actor{Name: "anonymous", IPAddress: "127.0.0.1", UserAgent: "probe/1", RequestID: "r.1"}, actor)
	requeue(`{"cause":"the image has no end"}`).want(t, 200)
	requeue(`{"all":true}`).want(t, 200)
	requeue(`{"ids":[9007199254740991]}`).want(t, 200)
	requeue(`{"ids":[`+strings.Repeat("1,", 999)+`1]}`).want(t, 200)
	require.Equal(t, []store.DeadLetterSelection{
		{ImageIDs: []int64{3, 1, 3}}, {Cause: "the image has no end"}, {}, {ImageIDs: []int64{9007199254740991}},
	}, chosen[:4])
	require.Len(t, chosen[4].ImageIDs, 1000)

	for body, want := range map[string]string{
		`{}`:                                 `{"loc":["body"],"msg":"needs exactly one of the keys all, cause, ids"`,
		`{"ids":[1],"all":true}`:             `{"loc":["body"],"msg":"needs exactly one of the keys all, cause, ids"`,
		`{"ids":[1],"cause":"x"}`:            `"loc":["body"]`,
		`{"ids":[1],"cause":"x","all":true}`: `"loc":["body"]`,
		`{"all":false}`:                      `"loc":["body","all"]`,
		`{"all":null}`:                       `"loc":["body","all"]`,
		`{"all":"true"}`:                     `"loc":["body","all"]`,
		`{"all":1}`:                          `"loc":["body","all"]`,
		`{"ids":[]}`:                         `"loc":["body","ids"]`,
		`{"ids":null}`:                       `"loc":["body","ids"]`,
		`{"ids":1}`:                          `"loc":["body","ids"]`,
		`{"ids":[0]}`:                        `"loc":["body","ids","0"]`,
		`{"ids":[1,-1]}`:                     `"loc":["body","ids","1"]`,
		`{"ids":[1.0]}`:                      `"loc":["body","ids","0"]`,
		`{"ids":[1e0]}`:                      `"loc":["body","ids","0"]`,
		`{"ids":["1"]}`:                      `"loc":["body","ids","0"]`,
		`{"ids":[null]}`:                     `"loc":["body","ids","0"]`,
		`{"ids":[9007199254740992]}`:         `"loc":["body","ids","0"]`,
		`{"ids":[9223372036854775808]}`:      `"loc":["body","ids","0"]`,
		`{"cause":""}`:                       `"loc":["body","cause"]`,
		`{"cause":null}`:                     `"loc":["body","cause"]`,
		`{"cause":["x"]}`:                    `"loc":["body","cause"]`,
		`{"camera":"x"}`:                     `"loc":["body","camera"]`,
		`{"all":true,"all":true}`:            `"loc":["body","all"]`,
		`{"All":true}`:                       `"loc":["body","All"]`,
		`{"ids":[` + strings.Repeat("1,", 1000) + `1]}`: `"loc":["body","ids"]`,
		`{"cause":"` + strings.Repeat("x", 4001) + `"}`: `"loc":["body","cause"]`,
		`[1]`:  `"loc":["body"]`,
		`true`: `"loc":["body"]`,
		``:     `"loc":["body"]`,
	} {
		got := requeue(body, header("Content-Type", "application/json")).want(t, 422)
		require.Contains(t, string(got.body), want, body)
	}
	got = requeue(`{"ids":[`+strings.Repeat("0,", 32_000)+`0]}`, header("Content-Type", "application/json")).want(t, 422)
	require.Equal(t, maxItems, strings.Count(string(got.body), `"loc"`))
	require.Len(t, chosen, 5, "nothing that is refused reaches the store")
}
