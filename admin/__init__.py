"""The marketplace around the engine: accounts, listings, orders, wallet, receipts, staff pages."""
