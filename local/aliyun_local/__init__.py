"""A small Alibaba Cloud on loopback: in-memory services behind the real wire protocols. Official SDKs run unmodified.

Every service is a folder of the same shape; to add one, copy `sts` (RPC style) or `mns` (REST style):

- `backend.py`: the class with the service's state and rules. It raises `core.errors.ApiError` and knows no HTTP.
- `wire.py`: requests in, responses out. `handle(backend, caller, call)` for RPC style, where `core.rpc` does the rest;
  `action(request)`, `handle(backend, caller, request)` and `error(refusal)` for REST style.
- its own parts, one idea a file: `state.py` (values), `query.py`, `paging.py`, and so on.

Then name the service in `cloud.py` and, where it differs from the others, in the tables of `core/rpc.py` (versions),
`core/refusals.py` (signature errors) and `core/faults.py` (throttling). Imports point one way: the services import
`core`, `cloud` imports the services, and `server`, `inprocess` and `world` import `cloud`.
"""
