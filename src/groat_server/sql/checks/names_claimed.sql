-- Every e-mail address and external id is stored as it is compared, and claimed by the user who has it, and by nobody
-- else.
SELECT 'user ' || u.id AS subject, 'has an e-mail address that is not trimmed, NFC and lower case' AS finding
FROM users u
WHERE u.email <> normal_email(u.email)
UNION ALL
SELECT 'user ' || u.id, 'does not hold the claim on its e-mail address'
FROM users u LEFT JOIN user_emails claim ON claim.email = u.email
WHERE claim.user_id IS DISTINCT FROM u.id
UNION ALL
SELECT 'user ' || u.id, 'does not hold the claim on its external id'
FROM users u LEFT JOIN user_external_ids claim ON claim.external_id = u.external_id
WHERE u.external_id IS NOT NULL AND claim.user_id IS DISTINCT FROM u.id
UNION ALL
SELECT 'user ' || claim.user_id, 'still holds the claim on ' || claim.email
FROM user_emails claim LEFT JOIN users u ON u.id = claim.user_id AND u.email = claim.email
WHERE u.id IS NULL
UNION ALL
SELECT 'user ' || claim.user_id, 'still holds the claim on the external id ' || claim.external_id
FROM user_external_ids claim LEFT JOIN users u ON u.id = claim.user_id AND u.external_id = claim.external_id
WHERE u.id IS NULL
