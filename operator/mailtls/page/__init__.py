"""The status page: read-only HTML and JSON of all resources, for a browser and for text alike.

`markup`, `style`, `frame`, `overview`, `story` and `site` are pure; `server`, `access` and `feed` are the edge.
"""
