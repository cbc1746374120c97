-- Takes a link that was not used before. No row: there is none, or it has expired.
UPDATE login_links SET used_at = now() WHERE link_hash = :link_hash AND used_at IS NULL AND expires_at > now()
RETURNING user_id
