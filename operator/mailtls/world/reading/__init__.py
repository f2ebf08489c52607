"""What people wrote, read with a clear sentence for each mistake: resources, settings and manifests."""
