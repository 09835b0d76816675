-- wrk's part of the load: sends the bodies of a file, one a line, round robin, and counts the answers that lack a word.
--
--   wrk … -s bench/load.lua URL -- BODIES TOKEN EXPECTED
--
-- Prints one line of JSON at the end.

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(args)
  local headers = { ["Content-Type"] = "application/json", ["X-AuthKey"] = args[2] }
  expected = args[3]
  failures = 0
  turn = 0
  requests = {}
  for body in io.lines(args[1]) do
    requests[#requests + 1] = wrk.format("POST", nil, headers, body)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function response(status, headers, body)
  if status ~= 200 or not string.find(body, expected, 1, true) then
    failures = failures + 1
  end
end

function done(summary, latency)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  for _, thread in ipairs(threads) do
    failed = failed + thread:get("failures")
  end
  print(string.format('{"total": %d, "failures": %d, "seconds": %f, "p50_ms": %f, "p99_ms": %f, "max_ms": %f}',
    summary.requests, failed, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    latency.max / 1e3))
end
