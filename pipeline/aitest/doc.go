// Package aitest gives tests the two AI services as scripted HTTP servers on real sockets: RT-DETR
// (GET /health, POST /detect) and llama.cpp with Nemotron (GET /health, POST /completion). They
// answer by the contracts of the real ones, deterministically, and remember each call. A Behaviour
// makes them misbehave: for all calls from now on (SetBehaviour), for the next ones (Script), for
// health checks only (SetHealth), or by not being there at all (Stop and Start, on the same port).
//
//	detector := aitest.NewRTDETR(t)
//	detector.SetBehaviour(aitest.Delay(50 * time.Millisecond))
//	detector.Script(aitest.Status(500), aitest.Truncated())
//	… the code under test calls detector.URL() …
//	detector.Wait("two images were detected", func(calls []aitest.DetectCall) bool { return aitest.Answered(calls) == 2 })
//
// Picture draws an image and says in it what RT-DETR is to find there; Detections and Judge tell a
// test what the servers answer.
package aitest
