//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"

	"hsi.home.arpa/embedded/embeddedtest"
	"hsi.home.arpa/gen"
	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/server/contracttest/generate"
	"hsi.home.arpa/store/storetest"
)

// propertyPart is how many requests are sent between two looks at what is stored, and
// propertyClients how many at once.
const propertyPart, propertyClients = 250, 6

// TestGeneratedRequests sends requests made from the contract to the real server: each gets an
// answer that the contract promises for it, checked against its schema; nothing fails on our side;
// and what is refused, or only reads, changes nothing. Half of the requests go to a server that
// asks for an API key. HSI_PROPERTY_SEED repeats a run.
func TestGeneratedRequests(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64N(1_000_000_000)
	if text := os.Getenv("HSI_PROPERTY_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	requests := uint64(inForm(1_500, 20_000))
	t.Logf("HSI_PROPERTY_SEED=%d", seed)
	for name, key := range map[string]string{"WithKey": "correct-horse-battery-staple", "WithoutKey": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRequester(t, seed+uint64(len(key)), key) // each has requests of its own
			begun := time.Now()
			for first := uint64(0); first < requests/2 && !t.Failed(); first += propertyPart {
				r.part(first, min(first+propertyPart, requests/2))
			}
			t.Logf("%d requests in %v: %s", requests/2, time.Since(begun).Round(time.Millisecond), r.figures())
			r.stop()
		})
	}
}

// requester sends generated requests to a server and knows what is stored.
type requester struct {
	*process

	t         *testing.T
	seed      uint64
	generator *generate.Generator
	database  *sqlx.DB

	mu       sync.Mutex
	statuses map[int]int // guarded by mu
}

func newRequester(t *testing.T, seed uint64, key string) *requester {
	t.Helper()
	// What is requeued must stay where it is: the files are gone, and the model never answers.
	cameras, model := t.TempDir(), aitest.NewNemotron(t)
	model.SetBehaviour(aitest.Hang())
	require.NoError(t, os.MkdirAll(filepath.Join(cameras, "front"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(cameras, "front", "note.txt"), []byte("not empty"), 0o600))
	require.NoError(t, os.MkdirAll(filepath.Join(cameras, pictureFolder), 0o755))
	settings := generate.Settings{APIKey: key, AllowedHost: "cams.example.net", TrustedOrigin: "https://dash.example.com"}
	databaseURL := storetest.NewEmptyURL(t)
	env := []string{
		"DATABASE_URL=" + databaseURL, "REDIS_URL=" + embeddedtest.NewRedis(t).URL(), "FOSCAM_BASE_PATH=" + cameras,
		"NEMOTRON_URL=" + model.URL(), "NEMOTRON_READ_TIMEOUT=600", "ALLOWED_HOSTS=" + settings.AllowedHost, "CORS_ORIGINS=" + settings.TrustedOrigin,
	}
	if key != "" {
		env = append(env, "API_KEY_ENABLED=true", "API_KEYS="+key)
	}
	doc, err := gen.GetSpec()
	require.NoError(t, err)
	r := &requester{t: t, seed: seed, database: sqlx.MustOpen("postgres", databaseURL), statuses: map[int]int{}}
	t.Cleanup(func() { _ = r.database.Close() })
	r.process = serve(t, env...)
	// Who has shown the right key once is not taken for a guesser when wrong ones follow.
	r.eventually("a session", func() bool {
		settings.Session, err = r.signIn(key)
		return err == nil
	})
	require.Equal(t, key == "", settings.Session == "")
	r.generator, err = generate.New(doc, settings)
	require.NoError(t, err)
	for _, path := range []string{"/ready", "/api/system/health", "/api/system/storage", "/api/system/pipeline-latency"} {
		r.eventually(path, func() bool { status, _ := r.get(path); return status == http.StatusOK })
	}
	r.addPictures(cameras)
	return r
}

// signIn returns a cookie that stands for a key; none when none is needed.
func (r *requester) signIn(key string) (cookie string, err error) {
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, r.BaseURL+"/api/session", http.NoBody)
	if err != nil {
		return "", err
	}
	request.Header.Set("X-Api-Key", key)
	response, err := r.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d", response.StatusCode)
	}
	for _, each := range response.Cookies() {
		cookie = each.Name + "=" + each.Value
	}
	return cookie, nil
}

// part sends some requests: first, together, those that must change nothing, and then, one after
// the other, those that may.
func (r *requester) part(first, end uint64) {
	r.fill()
	var harmless, writes []uint64
	for number := first; number < end; number++ {
		if request := r.generator.Request(r.seed, number); request.Writes {
			writes = append(writes, number)
		} else {
			harmless = append(harmless, number)
		}
	}
	before := r.stored()
	numbers := make(chan uint64)
	var clients sync.WaitGroup
	for range propertyClients {
		clients.Go(func() {
			for number := range numbers {
				r.ask(number)
			}
		})
	}
	for _, number := range harmless {
		numbers <- number
	}
	close(numbers)
	clients.Wait()
	if after := r.stored(); after != before {
		r.findCulprit(harmless, before, after)
	}
	for _, number := range writes {
		r.write(number)
	}
}

// findCulprit sends requests again, one by one, to tell which of them changed something that it
// must not change.
func (r *requester) findCulprit(numbers []uint64, before, after string) {
	for _, number := range numbers {
		r.fill()
		was := r.stored()
		r.ask(number)
		if is := r.stored(); is != was {
			request := r.generator.Request(r.seed, number)
			r.t.Errorf("request %d of seed %d changed what is stored: %s\nbefore %s\nafter  %s", number, r.seed, &request, was, is)
			return
		}
	}
	r.t.Errorf("one of the requests %d to %d of seed %d changed what it must not\nbefore %s\nafter  %s",
		numbers[0], numbers[len(numbers)-1], r.seed, before, after)
}

// ask sends a request and checks the answer. The body of the answer is nil when it failed.
func (r *requester) ask(number uint64) []byte {
	request := r.generator.Request(r.seed, number)
	response, body, err := r.send(&request) //nolint:bodyclose // it is read and closed
	if err != nil {
		r.t.Errorf("request %d of seed %d: %v: %s", number, r.seed, err, &request)
		return nil
	}
	r.mu.Lock()
	r.statuses[response.StatusCode]++
	r.mu.Unlock()
	if problem := judge(&request, response, body); problem != "" {
		r.t.Errorf("request %d of seed %d: %s: %d %.500s: %s", number, r.seed, problem, response.StatusCode, body, &request)
		return nil
	}
	return body
}

// send sends a request as it was made. The client checks the answer against the contract.
func (r *requester) send(made *generate.Request) (*http.Response, []byte, error) {
	request, err := http.NewRequestWithContext(r.t.Context(), made.Method, r.BaseURL, bytes.NewReader(made.Body))
	if err != nil {
		return nil, nil, err
	}
	request.URL.RawQuery = made.Query
	if request.URL.Path, err = url.PathUnescape(made.Path); err != nil {
		return nil, nil, err
	}
	request.URL.RawPath = made.Path
	request.Header = made.Header.Clone()
	request.Host = made.Host
	switch {
	case len(made.Body) == 0:
		request.Body = http.NoBody
	case made.Chunked:
		request.ContentLength = -1
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

// judge says what is wrong with an answer, beyond what the contract says about every answer.
func judge(request *generate.Request, response *http.Response, body []byte) string {
	if !slices.Contains(request.Statuses, response.StatusCode) {
		return "another answer"
	}
	if allow := response.Header.Get("Allow"); request.Allow != nil && !sameWords(request.Allow, strings.Split(allow, ", ")) {
		return fmt.Sprintf("Allow is %q and not %q", allow, request.Allow)
	}
	if id := request.Header.Get("X-Request-Id"); isSaneID(id) && response.Header.Get("X-Request-Id") != id {
		return "another request id"
	}
	if len(request.Field) > 0 && !namesField(body, request.Field) {
		return fmt.Sprintf("%q is not named", request.Field)
	}
	return ""
}

func sameWords(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func isSaneID(id string) bool {
	return id != "" && len(id) <= 64 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == ""
}

// namesField tells whether an entry of a 422 names the field or a part of it.
func namesField(body []byte, field []string) bool {
	var answer struct{ Detail []struct{ Loc []string } }
	if json.Unmarshal(body, &answer) != nil {
		return false
	}
	for _, item := range answer.Detail {
		if len(item.Loc) >= len(field) && slices.Equal(item.Loc[:len(field)], field) {
			return true
		}
	}
	return false
}

func (r *requester) figures() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.statuses)
}
