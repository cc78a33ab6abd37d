package aitest_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"hsi.home.arpa/pipeline/aitest"
	"hsi.home.arpa/pipeline/picture"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client makes a new connection for each request, as the tests stop servers and count what is
// refused.
func client(t *testing.T) *http.Client {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	t.Cleanup(c.CloseIdleConnections)
	return c
}

// reply is what came back; err is set when there was no whole answer.
type reply struct {
	status int
	body   []byte
	err    error
}

func (r reply) members(t *testing.T) map[string]any {
	t.Helper()
	require.NoError(t, r.err)
	var members map[string]any
	require.NoError(t, json.Unmarshal(r.body, &members), "%s", r.body)
	return members
}

func do(t *testing.T, ctx context.Context, method, url, contentType string, body []byte) reply { //nolint:revive // t comes first in tests
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return reply{err: err}
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("X-API-Key", "secret")
	response, err := client(t).Do(request)
	if err != nil {
		return reply{err: err}
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, data, err}
}

func upload(t *testing.T, ctx context.Context, d *aitest.RTDETR, name, contentType string, data []byte) reply { //nolint:revive // t comes first in tests
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {fmt.Sprintf(`form-data; name="file"; filename=%q`, name)}, "Content-Type": {contentType},
	})
	if err == nil {
		_, err = part.Write(data)
	}
	if err = errors.Join(err, form.Close()); err != nil {
		return reply{err: err}
	}
	return do(t, ctx, http.MethodPost, d.URL()+"/detect", form.FormDataContentType(), body.Bytes())
}

func ask(t *testing.T, ctx context.Context, n *aitest.Nemotron, prompt string) reply { //nolint:revive // t comes first in tests
	t.Helper()
	body := fmt.Appendf(nil, `{"prompt":%q,"n_predict":300,"json_schema":{"type":"object"}}`, prompt)
	return do(t, ctx, http.MethodPost, n.URL()+"/completion", "application/json", body)
}

var person = aitest.Detection{Class: "person", Confidence: 0.87, Box: aitest.Box{X: 30, Y: 40, Width: 25, Height: 60}}

func TestRTDETR_FollowsTheContract(t *testing.T) {
	t.Parallel()
	d := aitest.NewRTDETR(t)
	health := do(t, t.Context(), http.MethodGet, d.URL()+"/health", "", nil).members(t)
	require.Equal(t, "healthy", health["status"])
	require.Equal(t, true, health["model_loaded"])

	data := aitest.Picture(1, person)
	begun := time.Now()
	answer := upload(t, t.Context(), d, "a.JPG", "image/jpeg", data)
	took := time.Since(begun)
	require.Equal(t, 200, answer.status, "%s", answer.body)
	require.JSONEq(t, `{"detections":[{"class":"person","confidence":0.87,"bbox":{"x":30,"y":40,"width":25,"height":60}}],
		"inference_time_ms":12.5,"image_width":320,"image_height":180}`, string(answer.body))
	calls := d.Calls()
	require.Len(t, calls, 1)
	call, sum := calls[0], sha256.Sum256(data)
	require.Equal(t, hex.EncodeToString(sum[:]), call.SHA256)
	require.Equal(t, []any{"a.JPG", "image/jpeg", len(data), "secret", 200, true, []aitest.Detection{person}},
		[]any{call.FileName, call.ContentType, call.Size, call.APIKey, call.Status, call.WasAnswered(), call.Found})
	require.Positive(t, call.Took())
	require.LessOrEqual(t, call.Took(), took)
	require.Equal(t, 1, d.HealthChecks())
	require.Equal(t, 1, aitest.Answered(calls))
}

func TestRTDETR_RefusesWhatTheRealOneRefuses(t *testing.T) {
	t.Parallel()
	d := aitest.NewRTDETR(t)
	good := aitest.Picture(1)
	for name, c := range map[string]struct {
		file, contentType string
		data              []byte
		want              int
	}{
		"extension": {"a.tiff", "image/tiff", good, 400}, "content type": {"a.jpg", "text/plain", good, 400},
		"not an image": {"a.jpg", "image/jpeg", []byte("hello"), 400}, "empty": {"a.jpg", "image/jpeg", nil, 400},
		"broken": {"a.jpg", "image/jpeg", good[:40], 400}, "too large": {"a.jpg", "image/jpeg", make([]byte, 10<<20+1), 413},
	} {
		answer := upload(t, t.Context(), d, c.file, c.contentType, c.data)
		require.Equal(t, c.want, answer.status, "%s: %s", name, answer.body)
		require.NotEmpty(t, answer.members(t)["detail"], name)
	}
	require.Equal(t, 400, do(t, t.Context(), http.MethodPost, d.URL()+"/detect", "application/json", []byte(`{"image_base64":""}`)).status)
	require.Equal(t, 405, do(t, t.Context(), http.MethodGet, d.URL()+"/detect", "", nil).status)
	require.Equal(t, 404, do(t, t.Context(), http.MethodPost, d.URL()+"/predict", "", nil).status)
	require.Zero(t, aitest.Answered(d.Calls()))
}

func TestPicture_IsUniqueRepeatableAndValid(t *testing.T) {
	t.Parallel()
	data := aitest.Picture(7, person)
	require.Equal(t, data, aitest.Picture(7, person))
	require.NotEqual(t, data, aitest.Picture(8, person))
	info, err := picture.VerifyBytes(data, picture.Limits{})
	require.NoError(t, err)
	require.Equal(t, picture.JPEG, info.Format)
	require.Equal(t, [2]int{aitest.PictureWidth, aitest.PictureHeight}, [2]int{info.Width, info.Height})
	require.Empty(t, aitest.Detections(aitest.Picture(7)))
	require.NotNil(t, aitest.Detections(aitest.Picture(7)), "an image without objects is answered with an empty list, not null")
	require.Nil(t, aitest.Detections([]byte("hello")))
}

// What is found in an image that says nothing follows from its bytes, and lies inside it.
func TestDetections_FollowFromTheBytes(t *testing.T) {
	t.Parallel()
	numbers := map[int]bool{}
	for seed := range uint64(50) {
		drawn := aitest.Picture(seed)
		comment := 2 + int(drawn[4])<<8 + int(drawn[5])
		plain := slices.Concat(drawn[:2], drawn[2+comment:])
		found := aitest.Detections(plain)
		require.Equal(t, found, aitest.Detections(plain))
		numbers[len(found)] = true
		for _, d := range found {
			box := image.Rect(d.Box.X, d.Box.Y, d.Box.X+d.Box.Width, d.Box.Y+d.Box.Height)
			require.True(t, box.In(image.Rect(0, 0, aitest.PictureWidth, aitest.PictureHeight)), "%v", d)
			require.True(t, d.Confidence >= 0.5 && d.Confidence <= 1, "%v", d)
		}
	}
	require.Len(t, numbers, 4, "none to three objects")
}

func TestNemotron_FollowsTheContract(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	require.Equal(t, 200, do(t, t.Context(), http.MethodGet, n.URL()+"/health", "", nil).status)
	answer := ask(t, t.Context(), n, "Camera front: 1 person")
	require.Equal(t, 200, answer.status)
	content, _ := answer.members(t)["content"].(string)
	var verdict aitest.Verdict
	require.NoError(t, json.Unmarshal([]byte(content), &verdict))
	require.Equal(t, aitest.Judge("Camera front: 1 person"), verdict)
	require.NotEqual(t, aitest.Judge("Camera back: 1 person").Summary, verdict.Summary)
	call := n.Calls()[0]
	require.Equal(t, []any{"Camera front: 1 person", true, false, 300, "secret", verdict, true},
		[]any{call.Prompt, call.HasSchema, call.HasGrammar, call.MaxTokens, call.APIKey, call.Verdict, call.WasAnswered()})

	for _, body := range []string{`{}`, `{"prompt":`, `{"prompt":"x","stream":true}`, `{"prompt":"x","json_schema":"object"}`} {
		answer := do(t, t.Context(), http.MethodPost, n.URL()+"/completion", "application/json", []byte(body))
		require.Equal(t, 400, answer.status, body)
		require.Contains(t, answer.members(t), "error")
	}
	require.Equal(t, 404, do(t, t.Context(), http.MethodPost, n.URL()+"/v1/other", "", nil).status)
}

// ask sends an X-API-Key alone, which later versions of llama.cpp take and earlier ones do not.
func TestNemotron_AsksForAKey(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	n.RequireKey("secret", false)
	require.Equal(t, 200, ask(t, t.Context(), n, "one").status)
	n.RequireKey("another", false)
	require.Equal(t, 401, ask(t, t.Context(), n, "two").status)
	n.RequireKey("secret", true)
	require.Equal(t, 401, ask(t, t.Context(), n, "three").status)
	require.Equal(t, 200, do(t, t.Context(), http.MethodGet, n.URL()+"/health", "", nil).status)
}

func TestJudge_LevelFitsTheScore(t *testing.T) {
	t.Parallel()
	levels := map[string]int{}
	for i := range 300 {
		v := aitest.Judge(fmt.Sprint(i))
		require.True(t, v.RiskScore >= 0 && v.RiskScore <= 100)
		low := map[string]int{"low": 0, "medium": 30, "high": 60, "critical": 85}[v.RiskLevel]
		high := map[string]int{"low": 29, "medium": 59, "high": 84, "critical": 100}[v.RiskLevel]
		require.True(t, v.RiskScore >= low && v.RiskScore <= high, "%+v", v)
		levels[v.RiskLevel]++
	}
	require.Len(t, levels, 4)
}

// A stopped service refuses connections, keeps its port and its memory, and answers again after
// Start.
func TestService_StopsAndStartsOnTheSamePort(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	url := n.URL()
	require.Equal(t, 200, ask(t, t.Context(), n, "one").status)
	for range 3 {
		n.Stop()
		n.Stop()
		require.ErrorIs(t, ask(t, t.Context(), n, "refused").err, syscall.ECONNREFUSED)
		n.Start()
		n.Start()
		require.Equal(t, url, n.URL())
		require.Equal(t, 200, ask(t, t.Context(), n, "two").status)
	}
	require.Len(t, n.Calls(), 4)
}

// Stop ends calls under way, and their records are complete when it returns.
func TestService_StopCutsCallsOff(t *testing.T) {
	t.Parallel()
	d := aitest.NewRTDETR(t)
	d.SetBehaviour(aitest.Hang())
	cut := make(chan reply, 1)
	go func() { cut <- upload(t, t.Context(), d, "a.jpg", "image/jpeg", aitest.Picture(1)) }()
	d.Wait("the call came", func(calls []aitest.DetectCall) bool { return len(calls) == 1 })
	require.Zero(t, d.Calls()[0].EndedAt)
	d.Stop()
	call := d.Calls()[0]
	require.NotZero(t, call.EndedAt)
	require.Zero(t, call.Status)
	require.Equal(t, "hang", call.Behaviour)
	require.Error(t, (<-cut).err)
}

func TestService_ScriptComesBeforeTheBehaviour(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	n.SetBehaviour(aitest.Status(500))
	n.Script(aitest.Status(502), aitest.Behaviour{})
	n.Script(aitest.Status(429))
	var statuses []int
	for range 5 {
		statuses = append(statuses, ask(t, t.Context(), n, "x").status)
	}
	require.Equal(t, []int{502, 200, 429, 500, 500}, statuses)
	require.Equal(t, 200, do(t, t.Context(), http.MethodGet, n.URL()+"/health", "", nil).status, "health has a behaviour of its own")
	n.SetHealth(aitest.Loading())
	require.Equal(t, 503, do(t, t.Context(), http.MethodGet, n.URL()+"/health", "", nil).status)
}

func TestService_LoadingInTheWordsOfEachService(t *testing.T) {
	t.Parallel()
	d, n := aitest.NewRTDETR(t), aitest.NewNemotron(t)
	d.SetHealth(aitest.Loading())
	d.SetBehaviour(aitest.Loading())
	n.SetBehaviour(aitest.Loading())
	health := do(t, t.Context(), http.MethodGet, d.URL()+"/health", "", nil)
	require.Equal(t, 200, health.status, "RT-DETR answers 200 also without a model")
	require.Equal(t, []any{"degraded", false}, []any{health.members(t)["status"], health.members(t)["model_loaded"]})
	require.Equal(t, 503, upload(t, t.Context(), d, "a.jpg", "image/jpeg", aitest.Picture(1)).status)
	answer := ask(t, t.Context(), n, "x")
	require.Equal(t, 503, answer.status)
	require.JSONEq(t, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, string(answer.body))
}

func TestBehaviours_OnTheWire(t *testing.T) {
	t.Parallel()
	d := aitest.NewRTDETR(t)
	for _, c := range []struct {
		behaviour aitest.Behaviour
		check     func(t *testing.T, answer reply)
	}{
		{aitest.HTML(), func(t *testing.T, answer reply) {
			t.Helper()
			require.Equal(t, 200, answer.status)
			require.Contains(t, string(answer.body), "<html>")
		}},
		{aitest.Empty(), func(t *testing.T, answer reply) {
			t.Helper()
			require.Equal(t, 200, answer.status)
			require.Empty(t, answer.body)
		}},
		{aitest.Truncated(), func(t *testing.T, answer reply) {
			t.Helper()
			require.NoError(t, answer.err)
			require.Equal(t, 200, answer.status)
			require.False(t, json.Valid(answer.body))
		}},
		{aitest.Cut(), func(t *testing.T, answer reply) {
			t.Helper()
			require.ErrorIs(t, answer.err, io.ErrUnexpectedEOF)
		}},
		{aitest.Huge(3 << 20), func(t *testing.T, answer reply) {
			t.Helper()
			require.Greater(t, len(answer.body), 3<<20)
			require.Contains(t, answer.members(t), "detections")
		}},
		{aitest.Drip(time.Millisecond), func(t *testing.T, answer reply) {
			t.Helper()
			require.Contains(t, answer.members(t), "detections")
		}},
		{aitest.NaNConfidence(), func(t *testing.T, answer reply) {
			t.Helper()
			require.Contains(t, string(answer.body), "NaN")
		}},
		{aitest.Confidence(1.5), func(t *testing.T, answer reply) {
			t.Helper()
			require.Contains(t, string(answer.body), `"confidence":1.5`)
		}},
		{aitest.BoxAt(aitest.Box{X: -5, Y: 0, Width: 9999, Height: 1}), func(t *testing.T, answer reply) {
			t.Helper()
			require.Contains(t, string(answer.body), `"bbox":{"x":-5,"y":0,"width":9999,"height":1}`)
		}},
		{aitest.BoxAsList(), func(t *testing.T, answer reply) {
			t.Helper()
			require.Contains(t, string(answer.body), `"bbox":[30,40,25,60]`)
		}},
		{aitest.WithoutDetections(), func(t *testing.T, answer reply) {
			t.Helper()
			require.NotContains(t, answer.members(t), "detections")
		}},
	} {
		d.SetBehaviour(c.behaviour)
		c.check(t, upload(t, t.Context(), d, "a.jpg", "image/jpeg", aitest.Picture(1, person)))
		d.Wait(c.behaviour.Name+": the record", func(calls []aitest.DetectCall) bool {
			last := calls[len(calls)-1]
			return last.Behaviour == c.behaviour.Name && !last.EndedAt.IsZero() && !last.WasAnswered()
		})
	}
}

func TestBehaviours_ThatTakeTheirTime(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	n.SetBehaviour(aitest.Delay(30 * time.Millisecond))
	require.Equal(t, 200, ask(t, t.Context(), n, "x").status)
	require.GreaterOrEqual(t, n.Calls()[0].Took(), 30*time.Millisecond) // never less, however busy the machine
	require.True(t, n.Calls()[0].WasAnswered())

	release := make(chan struct{})
	n.SetBehaviour(aitest.Hold(release))
	held := make(chan reply, 1)
	go func() { held <- ask(t, t.Context(), n, "held") }()
	n.Wait("the call came", func(calls []aitest.CompletionCall) bool { return len(calls) == 2 })
	close(release)
	require.Equal(t, 200, (<-held).status)

	for _, endless := range []aitest.Behaviour{aitest.Hang(), aitest.Endless(), aitest.Drip(time.Hour)} {
		n.SetBehaviour(endless)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		answer := ask(t, ctx, n, "y")
		require.ErrorIs(t, answer.err, context.DeadlineExceeded, endless.Name)
		cancel()
	}
}

func TestBehaviours_OfTheModel(t *testing.T) {
	t.Parallel()
	n := aitest.NewNemotron(t)
	honest := aitest.Judge("x")
	plain, err := json.Marshal(honest)
	require.NoError(t, err)
	content := func(b aitest.Behaviour) string {
		n.SetBehaviour(b)
		answer := ask(t, t.Context(), n, "x")
		require.Equal(t, 200, answer.status, b.Name)
		text, _ := answer.members(t)["content"].(string)
		return text
	}
	for _, b := range []aitest.Behaviour{aitest.TalksAround(), aitest.CodeFence(), aitest.TwoObjects(), aitest.TwoVerdicts()} {
		text := content(b)
		require.Contains(t, text, string(plain), b.Name)
		require.False(t, json.Valid([]byte(text)), b.Name)
	}
	require.Equal(t, 2, strings.Count(content(aitest.TwoVerdicts()), `"risk_score"`))
	require.Contains(t, content(aitest.Score("150")), `"risk_score": 150`)
	require.NotContains(t, content(aitest.WrongLevel()), honest.RiskLevel)
	require.NotContains(t, content(aitest.NoVerdict()), "{")
	require.Empty(t, content(aitest.EmptyContent()))
	require.True(t, strings.HasPrefix(string(plain), content(aitest.RunsOut())))
	n.SetBehaviour(aitest.WithoutContent())
	require.NotContains(t, ask(t, t.Context(), n, "x").members(t), "content")
}
