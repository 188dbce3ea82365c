"""GPTCache's own server with its cache for exact matches: the prompt is the key, a dict the store."""

import json
import os
import sys
from pathlib import Path

import uvicorn
from gptcache import cache
from gptcache.adapter.api import put
from gptcache.processor.pre import get_prompt
from gptcache_server.server import app

cache.init(pre_embedding_func=get_prompt)
for key, body in json.loads(Path(os.environ["BENCH_ANSWERS"]).read_text(encoding="utf-8")).items():
    put(key, json.dumps(body, ensure_ascii=False))
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
