"""Where raw bytes come from: one file a kind of source, safe unpacking, and a content-addressed store.

`flywheel.source.fetch` goes through a data set's sources in their order until every file has the promised sha256;
`flywheel.source.probe` says which of them could be reached from here.
"""
