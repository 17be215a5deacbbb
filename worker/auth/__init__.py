"""Access tokens for Microsoft 365: fetched with MSAL, one request at a time, renewed before they end."""
